"""The DHCP server (RFC 2131, options of RFC 2132 and RFC 3397)."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address
from struct import Struct

import msgspec

from bimetal.backends.net.user.names import encode_name
from bimetal.backends.net.user.settings import ORDINARY_MTU, Settings

__all__ = ["CLIENT_PORT", "SERVER_PORT", "Answer", "DhcpServer"]

SERVER_PORT, CLIENT_PORT = 67, 68

LEASES_LIMIT = 16
"""Clients that have an address at a time; the one that was silent for longest loses it."""

LEASE_SECONDS = 86400

BOOTREQUEST, BOOTREPLY, ETHERNET, COOKIE = 1, 2, 1, 0x63825363

DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM = range(1, 9)
"""Types of messages (RFC 2132, 9.6)."""

PAD, END = 0, 255

MASK, ROUTER, DNS, HOSTNAME, DOMAIN, MTU = 1, 3, 6, 12, 15, 26
REQUESTED, LEASE, KIND, SERVER, RENEWAL, REBINDING, SEARCH = 50, 51, 53, 54, 58, 59, 119
"""Options."""

NONE = bytes(4)

_MESSAGE = Struct(">BBBBIHH4s4s4s4s16s64s128sI")

SHORTEST = 300
"""Bytes that old clients want a message to have (RFC 1542, 2.1)."""


class Answer(msgspec.Struct, frozen=True):
    """A message and whom to send it to: ``everybody`` or the Ethernet address of who asked."""

    payload: bytes
    address: bytes
    everybody: bool


class DhcpServer:
    """Hands out addresses of the network, the first one to whoever comes first."""

    def __init__(self, settings: Settings, taken: set[bytes]):
        self._settings = settings
        self._taken = taken
        self._server = settings.gateway.packed
        self._leases: dict[bytes, bytes] = {}
        """Addresses by Ethernet address, who was heard last at the end."""

    def answer(self, message: bytes) -> Answer | None:
        """What a client gets for its message; None for what is none or wants no answer."""
        if len(message) < _MESSAGE.size:
            return None
        (operation, hardware, length, _, transaction, _, flags, client, *rest) = (
            _MESSAGE.unpack_from(message)
        )
        chaddr, cookie = rest[3], rest[-1]
        if (operation, hardware, length, cookie) != (BOOTREQUEST, ETHERNET, 6, COOKIE):
            return None
        options = dict(_options(message[_MESSAGE.size :]))
        kind = int.from_bytes(options.get(KIND, b"\0")[:1])
        mac = chaddr[:6]
        if kind == RELEASE:
            self._leases.pop(mac, None)
        if kind not in (DISCOVER, REQUEST, INFORM):
            return None
        reply, address = self._decide(kind, mac, client, options)
        if reply is None:
            return None
        body = _MESSAGE.pack(
            BOOTREPLY, ETHERNET, 6, 0, transaction, 0, flags, client if reply == ACK else NONE,
            address, self._server, NONE, chaddr, bytes(64), bytes(128), COOKIE,
        )  # fmt: skip
        body += b"".join(self._tell(reply, kind != INFORM)) + bytes([END])
        to = client if client != NONE else address
        everybody = reply == NAK or to == NONE or bool(flags & 0x8000)
        return Answer(body.ljust(SHORTEST, b"\0"), NONE if everybody else to, everybody)

    def leases(self) -> list[tuple[bytes, str]]:
        """The addresses that were handed out, and to whom."""
        return [(mac, str(IPv4Address(address))) for mac, address in self._leases.items()]

    def _decide(
        self, kind: int, mac: bytes, client: bytes, options: dict[int, bytes]
    ) -> tuple[int | None, bytes]:
        """The type of the reply and the address in it."""
        if kind == INFORM:
            return ACK, NONE
        chosen = options.get(SERVER)
        if kind == REQUEST and chosen is not None and chosen != self._server:
            return None, NONE  # another server's offer was taken
        address = self._lease(mac, options.get(REQUESTED, client))
        if address is None:
            return None, NONE
        if kind == DISCOVER:
            return OFFER, address
        wanted = options.get(REQUESTED) or client
        return (ACK, address) if wanted in (address, NONE) else (NAK, NONE)

    def _lease(self, mac: bytes, wanted: bytes) -> bytes | None:
        """The address of ``mac``: its old one, the one it wants if that is free, or the next."""
        address = self._leases.pop(mac, None)
        if address is None:
            if len(self._leases) >= LEASES_LIMIT:
                del self._leases[next(iter(self._leases))]
            free = [each for each in self._pool() if each not in self._leases.values()]
            if not free:
                return None
            address = wanted if wanted in free else free[0]
        self._leases[mac] = address
        return address

    def _pool(self) -> Iterator[bytes]:
        """The addresses that may be handed out."""
        first, last = self._settings.guest, self._settings.network.broadcast_address
        count = min(LEASES_LIMIT + len(self._taken), int(last) - int(first))
        for number in range(count):
            address = IPv4Address(int(first) + number).packed
            if address not in self._taken:
                yield address

    def _tell(self, reply: int, lease: bool) -> Iterator[bytes]:
        """The options of a reply."""
        settings = self._settings
        yield _option(KIND, bytes([reply]))
        yield _option(SERVER, self._server)
        if reply == NAK:
            return
        if lease:
            yield _option(LEASE, LEASE_SECONDS.to_bytes(4))
            yield _option(RENEWAL, (LEASE_SECONDS // 2).to_bytes(4))
            yield _option(REBINDING, (LEASE_SECONDS * 7 // 8).to_bytes(4))
        yield _option(MASK, settings.network.netmask.packed)
        if not settings.restricted:
            yield _option(ROUTER, settings.gateway.packed)
            yield _option(DNS, settings.dns.packed)
        if settings.hostname:
            yield _option(HOSTNAME, settings.hostname.encode())
        if settings.domain:
            yield _option(DOMAIN, settings.domain.encode())
        if settings.search:
            yield _option(SEARCH, b"".join(map(encode_name, settings.search)))
        if settings.mtu != ORDINARY_MTU:
            yield _option(MTU, settings.mtu.to_bytes(2))


def _option(code: int, value: bytes) -> bytes:
    return bytes((code, len(value))) + value


def _options(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The options of a message, as far as they are whole."""
    position = 0
    while position < len(data) and data[position] != END:
        if data[position] == PAD:
            position += 1
            continue
        if position + 1 >= len(data):
            return
        end = position + 2 + data[position + 1]
        if end > len(data):
            return
        yield data[position], data[position + 2 : end]
        position = end
