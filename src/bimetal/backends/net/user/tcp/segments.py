"""Segments of one connection as frames: all that stays the same in them is packed once."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple

from bimetal.backends.net.user.internet import HOP_LIMIT, TCP, ones_sum, pseudo_header
from bimetal.base.frames import ETHERNET_HEADER, NEEDS_CHECKSUM, Offload, Segmentation

__all__ = [
    "ACK",
    "FIN",
    "HEADER",
    "PSH",
    "RST",
    "SYN",
    "Segment",
    "Template4",
    "Template6",
    "options",
    "peer_options",
    "template",
]

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
"""Flags of a segment."""

HEADER = 20
"""Bytes of a header without options."""

IP4_HEADER, IP6_HEADER = 20, 40

END_OF_OPTIONS, NO_OPERATION, MAXIMUM_SEGMENT, WINDOW_SCALE = 0, 1, 2, 3
"""Kinds of options."""

SHIFT_LIMIT = 14
"""The greatest window scale (RFC 7323, section 2.3)."""

_CHECKSUM = 16
"""Where the checksum is in a header."""

_PACK4 = Struct(">16sH6sH12sIIHHHH").pack
_PACK6 = Struct(">18sH38sIIHHHH").pack


class Segment(NamedTuple):
    """A segment of the guest; ``pieces`` are its data, ``length`` bytes, ``flags`` have more in
    their upper bits, and ``window`` is not scaled."""

    sequence: int
    acknowledged: int
    flags: int
    window: int
    options: bytes
    pieces: Sequence[memoryview | bytes | bytearray]
    length: int


class Template4:
    """Headers of segments over IPv4 from the network to the guest.

    ``ends`` are the two Ethernet addresses, the guest's first. ``key`` is what stands in packets of
    the guest from the source address to the destination port: the two addresses, the two ports.
    ``summed`` and ``cut`` say what is left to be done to a frame with `pack`'s header: the
    checksum, or the checksum of segments of ``segment`` bytes each.
    """

    __slots__ = ("_base", "_prefix", "_pseudo", "_tail", "cut", "ends", "segment", "summed")

    header = ETHERNET_HEADER + IP4_HEADER + HEADER
    _middle = b"\0\0\x40\0" + bytes((HOP_LIMIT, TCP))
    """Identification, don't fragment, hop limit, protocol. Packets that are not cut need no
    identification (RFC 6864, section 4.1)."""

    def __init__(self, ends: bytes, key: bytes, segment: int):
        there, here = key[0:4], key[4:8]
        self.ends = ends
        self._prefix = ends + b"\x08\x00\x45\x00"
        self._tail = here + there + key[10:12] + key[8:10]
        self._base = ones_sum(b"\x45\0\0\0" + self._middle + b"\0\0" + here + there)
        self._pseudo = ones_sum(pseudo_header(here, there, TCP, 0))
        self.summed, self.cut = _offloads(ETHERNET_HEADER + IP4_HEADER, Segmentation.TCP4, segment)
        self.segment = segment

    def pack(self, sequence: int, acknowledged: int, flags: int, window: int, length: int) -> bytes:
        """The headers of a segment with ``length`` bytes after them; ``flags`` with the header's
        length in its upper four bits."""
        total = length + 40
        summed = self._base + total
        summed = 0xFFFF - ((summed & 0xFFFF) + (summed >> 16))
        pseudo = self._pseudo + length + 20
        pseudo = (pseudo & 0xFFFF) + (pseudo >> 16)
        return _PACK4(
            self._prefix, total, self._middle, summed, self._tail,
            sequence, acknowledged, flags, window, pseudo, 0,
        )  # fmt: skip


class Template6:
    """The same over IPv6."""

    __slots__ = ("_prefix", "_pseudo", "_tail", "cut", "ends", "segment", "summed")

    header = ETHERNET_HEADER + IP6_HEADER + HEADER

    def __init__(self, ends: bytes, key: bytes, segment: int):
        there, here = key[0:16], key[16:32]
        self.ends = ends
        self._prefix = ends + b"\x86\xdd\x60\0\0\0"
        self._tail = bytes((TCP, HOP_LIMIT)) + here + there + key[34:36] + key[32:34]
        self._pseudo = ones_sum(pseudo_header(here, there, TCP, 0))
        self.summed, self.cut = _offloads(ETHERNET_HEADER + IP6_HEADER, Segmentation.TCP6, segment)
        self.segment = segment

    def pack(self, sequence: int, acknowledged: int, flags: int, window: int, length: int) -> bytes:
        """See `Template4.pack`."""
        length += 20
        pseudo = self._pseudo + length
        pseudo = (pseudo & 0xFFFF) + (pseudo >> 16)
        return _PACK6(
            self._prefix, length, self._tail,
            sequence, acknowledged, flags, window, pseudo, 0,
        )  # fmt: skip


def template(ends: bytes, key: bytes, segment: int) -> Template4 | Template6:
    """The template for connection ``key`` of IPv4 or IPv6."""
    return (Template4 if len(key) == 12 else Template6)(ends, key, segment)


def _offloads(start: int, segmentation: int, segment: int) -> tuple[Offload, Offload]:
    """What is left to be done to a short frame and to one that is to be cut."""
    summed = Offload(NEEDS_CHECKSUM, checksum_start=start, checksum_offset=_CHECKSUM)
    cut = summed._replace(
        segmentation=segmentation, header_length=start + HEADER, segment_size=segment
    )
    return summed, cut


def options(segment: int, shift: int | None) -> bytes:
    """The options of a SYN of ours: the segments that we take, and the scale of our windows."""
    told = bytes((MAXIMUM_SEGMENT, 4)) + segment.to_bytes(2)
    return told if shift is None else told + bytes((NO_OPERATION, WINDOW_SCALE, 3, shift))


def peer_options(data: bytes) -> tuple[int | None, int | None]:
    """The greatest segment and the scale of windows that a SYN's options tell, if they do."""
    segment = shift = None
    position = 0
    while position < len(data) and data[position] != END_OF_OPTIONS:
        if data[position] == NO_OPERATION:
            position += 1
            continue
        length = data[position + 1] if position + 1 < len(data) else 0
        if length < 2 or position + length > len(data):
            break
        value = data[position + 2 : position + length]
        if data[position] == MAXIMUM_SEGMENT and length == 4:
            segment = int.from_bytes(value)
        elif data[position] == WINDOW_SCALE and length == 3:
            shift = min(value[0], SHIFT_LIMIT)
        position += length
    return segment, shift
