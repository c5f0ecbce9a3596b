"""What all protocols of the Internet share: checksums, packets taken apart and put together.

Addresses are bytes as on the wire, 4 or 16 of them; their number tells the version of IP.
This is the road of everything but the segments of TCP connections, which have a shorter one
(`bimetal.backends.net.user.tcp`).
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from bimetal.base.frames import ETHERNET_HEADER, NEEDS_CHECKSUM, PLAIN, Frame, Offload

__all__ = [
    "HOP_LIMIT",
    "ICMP",
    "ICMP6",
    "TCP",
    "TYPE_ARP",
    "TYPE_IP4",
    "TYPE_IP6",
    "UDP",
    "BadPacket",
    "Fragment",
    "Packet",
    "checksum",
    "ones_sum",
    "packet_frames",
    "parse",
    "plain_header",
    "pseudo_header",
    "udp_frames",
]

TYPE_IP4, TYPE_ARP, TYPE_IP6 = 0x0800, 0x0806, 0x86DD
"""Types of Ethernet frames."""

ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
"""Protocols in an IP packet."""

HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS = 0, 43, 44, 60
"""Extension headers of IPv6 (RFC 8200, section 4)."""

EXTENSIONS_LIMIT = 8
"""Extension headers that are looked at in one packet."""

HOP_LIMIT = 64

MORE_FRAGMENTS, FRAGMENT_OFFSET = 0x2000, 0x1FFF

_IP4 = Struct(">BBHHHBBH4s4s")
_IP6 = Struct(">IHBB16s16s")
_FRAGMENT6 = Struct(">BxHI")
_UDP = Struct(">HHHH")


class BadPacket(Exception):
    """A packet that no router would pass on; the message says why."""


class Fragment(NamedTuple):
    """Which part of a datagram a packet carries (RFC 791, section 3.2; RFC 8200, section 4.5)."""

    identification: int
    offset: int
    more: bool


class Packet(NamedTuple):
    """An IP packet taken apart. ``header`` is the IP header as it came, ``trusted`` whether the
    checksum of the payload is nobody's business: it never was on a wire."""

    mac: bytes
    source: bytes
    destination: bytes
    protocol: int
    payload: bytes
    header: bytes
    fragment: Fragment | None = None
    trusted: bool = False
    hop_limit: int = HOP_LIMIT


def ones_sum(data: bytes) -> int:
    """The one's complement sum of ``data`` as 16-bit words (RFC 1071), modulo 65535.

    As 65536 is 1 modulo 65535, it is the remainder of the one big number that the bytes are: what
    Python computes without a loop of its own.
    """
    if len(data) & 1:
        data += b"\0"
    return int.from_bytes(data, "big") % 0xFFFF


def checksum(data: bytes) -> int:
    """The Internet checksum of ``data``, in which its own field is 0."""
    return 0xFFFF - ones_sum(data)


def pseudo_header(source: bytes, destination: bytes, protocol: int, length: int) -> bytes:
    """What checksums of TCP, UDP and ICMPv6 count beside their own bytes (RFC 8200, 8.1): the
    form of IPv6, as the sum of IPv4's is the same."""
    return b"%b%b%b%b" % (source, destination, length.to_bytes(4), protocol.to_bytes(4))


def parse(frame: bytes, trusted: bool) -> Packet:
    """The IP packet in an Ethernet frame. Raises `BadPacket`."""
    kind = int.from_bytes(frame[12:14])
    if kind == TYPE_IP4:
        return _parse4(frame, trusted)
    if kind == TYPE_IP6:
        return _parse6(frame, trusted)
    raise BadPacket("neither ARP nor IP")


def _parse4(frame: bytes, trusted: bool) -> Packet:
    if len(frame) < ETHERNET_HEADER + _IP4.size:
        raise BadPacket("a packet without a header")
    first, _, total, identification, word, hops, protocol, _, source, destination = (
        _IP4.unpack_from(frame, ETHERNET_HEADER)
    )
    header = 4 * (first & 0xF)
    if first >> 4 != 4 or header < _IP4.size:
        raise BadPacket("a header of IPv4 that is none")
    if not header <= total <= len(frame) - ETHERNET_HEADER:
        raise BadPacket("a packet longer than its frame")
    start = ETHERNET_HEADER + header
    if ones_sum(frame[ETHERNET_HEADER:start]):
        raise BadPacket("a wrong checksum of the header")
    fragment = None
    if word & (MORE_FRAGMENTS | FRAGMENT_OFFSET):
        more = bool(word & MORE_FRAGMENTS)
        fragment = Fragment(identification, 8 * (word & FRAGMENT_OFFSET), more)
    payload = frame[start : ETHERNET_HEADER + total]
    head = frame[ETHERNET_HEADER:start]
    return Packet(
        frame[6:12], source, destination, protocol, payload, head, fragment, trusted, hops
    )


def _parse6(frame: bytes, trusted: bool) -> Packet:
    start = ETHERNET_HEADER + _IP6.size
    if len(frame) < start:
        raise BadPacket("a packet without a header")
    first, length, protocol, hops, source, destination = _IP6.unpack_from(frame, ETHERNET_HEADER)
    end = start + length
    if first >> 28 != 6:
        raise BadPacket("a header of IPv6 that is none")
    if end > len(frame):
        raise BadPacket("a packet longer than its frame")
    fragment = None
    for _ in range(EXTENSIONS_LIMIT):
        if protocol == FRAGMENT:
            if fragment or end - start < _FRAGMENT6.size:
                raise BadPacket("a wrong fragment header")
            protocol, word, identification = _FRAGMENT6.unpack_from(frame, start)
            start += _FRAGMENT6.size
            fragment = Fragment(identification, word & 0xFFF8, bool(word & 1))
            if fragment.offset:
                break  # what follows is the middle of something
        elif protocol in (HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS):
            if end - start < 8 or end - start < 8 + 8 * frame[start + 1]:
                raise BadPacket("an extension header longer than its packet")
            protocol, start = frame[start], start + 8 + 8 * frame[start + 1]
        else:
            break
    else:
        raise BadPacket("too many extension headers")
    if fragment and not fragment.offset and not fragment.more:
        fragment = None  # an atomic fragment (RFC 6946)
    header = frame[ETHERNET_HEADER : ETHERNET_HEADER + _IP6.size]
    payload = frame[start:end]
    return Packet(
        frame[6:12], source, destination, protocol, payload, header, fragment, trusted, hops
    )


class _Identifications:
    """Numbers for datagrams that are cut."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> int:
        self._last = self._last + 1 & 0xFFFF
        return self._last


_identifications = _Identifications()


def packet_frames(
    ends: bytes,
    source: bytes,
    destination: bytes,
    protocol: int,
    payload: bytes,
    mtu: int,
    offload: Offload = PLAIN,
    hop_limit: int = HOP_LIMIT,
) -> Iterator[Frame]:
    """A packet with ``payload`` in as many frames as it needs; ``ends`` are the Ethernet addresses,
    the destination's first. What is cut must not have an ``offload``."""
    v4 = len(source) == 4
    header = _IP4.size if v4 else _IP6.size
    if header + len(payload) <= mtu:
        head = (_header4 if v4 else _header6)(
            source, destination, protocol, len(payload), hop_limit
        )
        yield Frame((b"%b%b" % (ends, head), payload) if payload else (ends + head,), offload)
        return
    identification = _identifications.next()
    room = (mtu - header - (0 if v4 else _FRAGMENT6.size)) & ~7
    for offset in range(0, len(payload), room):
        piece = payload[offset : offset + room]
        more = offset + room < len(payload)
        if v4:
            word = offset >> 3 | (MORE_FRAGMENTS if more else 0)
            head = _header4(
                source, destination, protocol, len(piece), hop_limit, identification, word
            )
        else:
            extension = _FRAGMENT6.pack(protocol, offset | more, identification)
            length = len(piece) + len(extension)
            head = _header6(source, destination, FRAGMENT, length, hop_limit) + extension
        yield Frame((ends + head, piece))


def _header4(
    source: bytes,
    destination: bytes,
    protocol: int,
    length: int,
    hop_limit: int,
    identification: int = 0,
    word: int = 0,
) -> bytes:
    ends = source + destination
    total = _IP4.size + length
    fields = (0x45, 0, total, identification, word, hop_limit, protocol)
    summed = checksum(_IP4.pack(*fields, 0, ends[:4], ends[4:]))
    return TYPE_IP4.to_bytes(2) + _IP4.pack(*fields, summed, source, destination)


def _header6(
    source: bytes, destination: bytes, protocol: int, length: int, hop_limit: int
) -> bytes:
    head = _IP6.pack(6 << 28, length, protocol, hop_limit, source, destination)
    return TYPE_IP6.to_bytes(2) + head


def plain_header(source: bytes, destination: bytes, protocol: int, length: int) -> bytes:
    """The IP header of a packet with ``length`` bytes of payload."""
    make = _header4 if len(source) == 4 else _header6
    return make(source, destination, protocol, length, HOP_LIMIT)[2:]


def udp_frames(
    ends: bytes,
    source: tuple[bytes, int],
    destination: tuple[bytes, int],
    data: bytes,
    mtu: int,
) -> Iterator[Frame]:
    """A datagram from ``source`` to ``destination``, each an address and a port."""
    here, there = source[0], destination[0]
    length = _UDP.size + len(data)
    pseudo = pseudo_header(here, there, UDP, length)
    start = ETHERNET_HEADER + (_IP4.size if len(here) == 4 else _IP6.size)
    if start + length <= mtu + ETHERNET_HEADER:
        head = _UDP.pack(source[1], destination[1], length, ones_sum(pseudo))
        offload = Offload(NEEDS_CHECKSUM, checksum_start=start, checksum_offset=6)
    else:
        bare = _UDP.pack(source[1], destination[1], length, 0)
        summed = checksum(pseudo + bare + data) or 0xFFFF  # 0 would say that there is none
        head = _UDP.pack(source[1], destination[1], length, summed)
        offload = PLAIN
    return packet_frames(ends, here, there, UDP, head + data, mtu, offload)
