"""Files of captured frames: pcapng (draft-ietf-opsawg-pcapng), as much as it takes to write one.

A section header, the description of one interface, and a block for each frame. Every block is of
whole 32-bit words and has its length at both ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

__all__ = ["INBOUND", "MAGIC", "OUTBOUND", "file_header", "packet"]

SECTION_HEADER, INTERFACE, PACKET = 0x0A0D_0D0A, 1, 6
BYTE_ORDER, VERSION, UNKNOWN_LENGTH = 0x1A2B_3C4D, (1, 0), 0xFFFF_FFFF_FFFF_FFFF
ETHERNET = 1
"""LINKTYPE_ETHERNET."""

END, NAME, APPLICATION, RESOLUTION, FLAGS = 0, 2, 4, 9, 2
"""Options: the end of them; the interface's name, the section's application, the interface's unit
of time, and the packet's flags."""

NANOSECONDS = b"\x09"
INBOUND, OUTBOUND = 1, 2
"""Directions in the flags of a packet, as the guest sees it."""

MAGIC = SECTION_HEADER.to_bytes(4, "little")
"""What such a file begins with, whatever the order of its bytes."""

_SECTION = Struct("<IHHQ")
_INTERFACE = Struct("<HHI")
_PACKET = Struct("<IIIII")
_WORD = Struct("<I")
_OPTION = Struct("<HH")


def file_header(name: str, application: str) -> bytes:
    """The beginning of a file about the interface ``name``."""
    section = _SECTION.pack(BYTE_ORDER, *VERSION, UNKNOWN_LENGTH)
    section += _option(APPLICATION, application.encode()) + _option(END)
    interface = _INTERFACE.pack(ETHERNET, 0, 0)
    interface += _option(NAME, name.encode()) + _option(RESOLUTION, NANOSECONDS) + _option(END)
    return _block(SECTION_HEADER, [section]) + _block(INTERFACE, [interface])


def packet(pieces: Sequence[bytes | bytearray | memoryview], at_ns: int, direction: int) -> bytes:
    """The block of one frame that was seen ``at_ns`` nanoseconds after 1970 began, UTC."""
    length = sum(map(len, pieces))
    header = _PACKET.pack(0, at_ns >> 32, at_ns & 0xFFFF_FFFF, length, length)
    flags = _option(FLAGS, _WORD.pack(direction)) + _option(END)
    return _block(PACKET, [header, *pieces, bytes(-length % 4), flags])


def _block(kind: int, parts: Sequence[bytes | bytearray | memoryview]) -> bytes:
    length = _WORD.pack(12 + sum(map(len, parts)))
    return b"".join((_WORD.pack(kind), length, *parts, length))


def _option(kind: int, value: bytes = b"") -> bytes:
    return _OPTION.pack(kind, len(value)) + value + bytes(-len(value) % 4)
