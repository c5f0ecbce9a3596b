"""Neighbour discovery and router advertisements of IPv6 (RFC 4861, RFC 8106)."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from bimetal.backends.net.user.internet import Packet
from bimetal.backends.net.user.names import encode_name
from bimetal.backends.net.user.places import LINK_LOCAL, Places
from bimetal.backends.net.user.settings import ORDINARY_MTU, Settings

__all__ = ["ALL_NODES", "NEIGHBOUR_HOPS", "Message", "Neighbours6", "mac_of_group"]

ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT, SOLICITATION, ADVERTISEMENT = 133, 134, 135, 136
"""Types of ICMPv6 messages."""

NEIGHBOUR_HOPS = 255
"""The hop limit of these messages, which shows that they come from the link itself."""

ALL_NODES = b"\xff\x02" + bytes(13) + b"\x01"
UNSPECIFIED = bytes(16)

SOURCE_MAC, TARGET_MAC, PREFIX, MTU, RDNSS, DNSSL = 1, 2, 3, 5, 25, 31
"""Options."""

IS_ROUTER, SOLICITED, OVERRIDE = 0x80, 0x40, 0x20
OTHER_CONFIGURATION = 0x40
ON_LINK, AUTONOMOUS = 0x80, 0x40

ROUTER_SECONDS, VALID_SECONDS, PREFERRED_SECONDS = 1800, 86400, 14400

_TARGET = Struct(">BBHB3x16s")
_ROUTER = Struct(">BBHBBHII")
_PREFIX = Struct(">BBBBIIxxxx16s")


class Message(NamedTuple):
    """An ICMPv6 message, with 0 for its checksum, from one address to another."""

    source: bytes
    destination: bytes
    body: bytes


def mac_of_group(address: bytes) -> bytes:
    """The Ethernet address of a multicast address (RFC 2464, section 7)."""
    return b"\x33\x33" + address[12:]


class Neighbours6:
    """Answers who asks for the network's addresses or for its router."""

    def __init__(self, settings: Settings, places: Places):
        self._settings, self._places = settings, places

    def answer(self, packet: Packet) -> Message | None:
        """What the sender of ``packet``, an ICMPv6 message whose checksum is right, gets."""
        body = packet.payload
        if packet.hop_limit != NEIGHBOUR_HOPS or body[1]:
            return None
        to = packet.source if packet.source != UNSPECIFIED else ALL_NODES
        if body[0] == ROUTER_SOLICITATION and len(body) >= 8:
            return self.advertisement(to)
        if body[0] == SOLICITATION and len(body) >= 24:
            return self._neighbour(to, body[8:24])
        return None

    def learned(self, packet: Packet) -> tuple[bytes, bytes] | None:
        """The address and Ethernet address that an advertisement of a neighbour tells."""
        body = packet.payload
        if packet.hop_limit != NEIGHBOUR_HOPS or body[:2] != bytes((ADVERTISEMENT, 0)):
            return None
        return (body[8:24], packet.mac) if len(body) >= 24 else None

    def solicitation(self, target: bytes) -> Message:
        """The question where ``target`` is."""
        group = b"\xff\x02" + bytes(9) + b"\x01\xff" + target[13:]
        body = _TARGET.pack(SOLICITATION, 0, 0, 0, target) + self._mac(SOURCE_MAC)
        return Message(LINK_LOCAL, group, body)

    def advertisement(self, to: bytes) -> Message:
        """What the router says of itself and the network."""
        settings = self._settings
        lifetime = 0 if settings.restricted else ROUTER_SECONDS
        body = _ROUTER.pack(ROUTER_ADVERTISEMENT, 0, 0, 64, OTHER_CONFIGURATION, lifetime, 0, 0)
        body += self._mac(SOURCE_MAC)
        prefix = settings.network6.network_address.packed
        body += _PREFIX.pack(
            PREFIX, 4, 64, ON_LINK | AUTONOMOUS, VALID_SECONDS, PREFERRED_SECONDS, prefix
        )
        if settings.mtu != ORDINARY_MTU:
            body += bytes((MTU, 1, 0, 0)) + settings.mtu.to_bytes(4)
        if not settings.restricted:
            body += _lasting(RDNSS, settings.dns6.packed)
        if settings.search:
            names = b"".join(map(encode_name, settings.search))
            body += _lasting(DNSSL, names + bytes(-len(names) % 8))
        return Message(LINK_LOCAL, to, body)

    def _neighbour(self, to: bytes, target: bytes) -> Message | None:
        if target not in self._places.ours:
            return None
        flags = OVERRIDE | (IS_ROUTER if self._places.is_gateway(target) else 0)
        flags |= 0 if to == ALL_NODES else SOLICITED
        body = _TARGET.pack(ADVERTISEMENT, 0, 0, flags, target) + self._mac(TARGET_MAC)
        return Message(target, to, body)

    def _mac(self, option: int) -> bytes:
        return bytes((option, 1)) + self._places.mac


def _lasting(option: int, value: bytes) -> bytes:
    """An option that has a lifetime, that of the router."""
    return bytes((option, 1 + len(value) // 8, 0, 0)) + ROUTER_SECONDS.to_bytes(4) + value
