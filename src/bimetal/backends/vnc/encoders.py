"""Encodings of rectangles (RFC 6143, section 7.7), each with the state that one client needs.

Rectangles come as pixels in the form for viewers. All work on many pixels is done by slices and by
zlib, neither of which holds up other threads for long.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from struct import Struct
from typing import Protocol

from bimetal.backends.vnc.numbers import Encoding
from bimetal.backends.vnc.pixel_format import SOURCE, ClientFormat

__all__ = ["Encoder", "Raw", "Tight", "Zrle"]

ZRLE_TILE = 64
ZRLE_RAW, ZRLE_SOLID, ZRLE_TWO = 0, 1, 2
"""Kinds of tiles (7.7.6): all pixels, one colour, two of them and a bit for each pixel."""

TIGHT_FILL, TIGHT_COPY, TIGHT_TWO = b"\x80", b"\x00", b"\x50\1\1"
"""Kinds of rectangles: one colour; all pixels, as the first of four streams; two colours, and a bit
for each pixel, as the second one."""
TIGHT_PLAIN_LIMIT = 12
"""Bytes from which on they are packed."""

_LENGTH = Struct(">I")


class Encoder(Protocol):
    """An encoding with its ``number``."""

    number: int

    def encode(self, pixels: bytes, width: int, height: int, format: ClientFormat) -> bytes:
        """What follows the header of a rectangle with these pixels."""


class Raw:
    """All pixels as they are."""

    number = Encoding.RAW

    def encode(self, pixels: bytes, width: int, height: int, format: ClientFormat) -> bytes:
        """See `Encoder`."""
        return format.convert(pixels)


class Zrle:
    """Tiles of 64 by 64 pixels, packed by zlib: of one colour, of two, as text is, or all pixels.
    Other kinds of tiles would cost Python more than they would save zlib."""

    number = Encoding.ZRLE

    def __init__(self, level: int):
        self._packer = zlib.compressobj(level)

    def encode(self, pixels: bytes, width: int, height: int, format: ClientFormat) -> bytes:
        """See `Encoder`."""
        data, size = format.convert(pixels), format.size
        if format.compact is not None:
            data, size = _three_of_four(data, format.compact), 3
        parts = []
        row = width * size
        for top in range(0, height, ZRLE_TILE):
            starts = range(top * row, min(height, top + ZRLE_TILE) * row, row)
            for left in range(0, row, ZRLE_TILE * size):
                length = min(ZRLE_TILE * size, row - left)
                tile = b"".join([data[at + left : at + left + length] for at in starts])
                parts.append(_tile(tile, size, length // size))
        packed = self._packer.compress(b"".join(parts)) + self._packer.flush(zlib.Z_SYNC_FLUSH)
        return _LENGTH.pack(len(packed)) + packed


class Tight:
    """Rectangles of one colour, of two, or all pixels, the latter packed by zlib (rfbproto, "Tight
    Encoding")."""

    number = Encoding.TIGHT

    def __init__(self, level: int):
        self._pixels, self._bits = zlib.compressobj(level), zlib.compressobj(level)

    def encode(self, pixels: bytes, width: int, height: int, format: ClientFormat) -> bytes:
        """See `Encoder`. A rectangle has at most 2048 columns."""
        if format.is_24_bits:
            planes = [pixels[place::SOURCE] for place in (2, 1, 0)]
        else:
            data, size = format.convert(pixels), format.size
            planes = [data[place::size] for place in range(size)]
        if all(plane == plane[:1] * len(plane) for plane in planes):
            return TIGHT_FILL + _colour(planes, 0)
        if (two := _two_colours(planes, width)) is not None:
            return TIGHT_TWO + two[0] + _packed(two[1], self._bits)
        return TIGHT_COPY + _packed(_woven(planes), self._pixels)


def _packed(data: bytes, packer: zlib._Compress) -> bytes:
    """Data of Tight, with its length if it is long enough to be packed."""
    if len(data) < TIGHT_PLAIN_LIMIT:
        return data
    packed = packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH)
    return _compact_length(len(packed)) + packed


def _tile(tile: bytes, size: int, width: int) -> bytes:
    if tile == tile[:size] * (len(tile) // size):
        return bytes((ZRLE_SOLID,)) + tile[:size]
    if (two := _two_colours([tile[place::size] for place in range(size)], width)) is not None:
        return bytes((ZRLE_TWO,)) + two[0] + two[1]
    return bytes((ZRLE_RAW,)) + tile


def _two_colours(planes: Sequence[bytes], width: int) -> tuple[bytes, bytes] | None:
    """The two colours of pixels that have no more, and a bit for each pixel, the first one the
    highest of its byte; None for others, and for rows that do not end with a byte. ``planes`` have
    a byte of each pixel."""
    if width % 8:
        return None
    for plane in planes:
        first = plane[:1]
        if rest := plane.translate(None, first):
            break
    else:
        return None
    second = rest[:1]
    if rest.translate(None, second):
        return None
    at = plane.index(second)
    colours = _colour(planes, 0), _colour(planes, at)
    table = bytearray(256)
    for other, one, two in zip(planes, *colours, strict=True):
        table[first[0]], table[second[0]] = one, two
        if other != plane and plane.translate(table) != other:  # grey is in all planes the same
            return None
    table[first[0]], table[second[0]] = 0, 1
    numbers, bits = plane.translate(table), 0
    for place in range(8):
        bits |= int.from_bytes(numbers[place::8], "little") << 7 - place
    return colours[0] + colours[1], bits.to_bytes(len(numbers) // 8, "little")


def _three_of_four(pixels: bytes, which: slice) -> bytes:
    """Three bytes of each pixel of four, in the order of the slice."""
    made = bytearray(len(pixels) // SOURCE * 3)
    for target, source in enumerate(range(*which.indices(SOURCE))):
        made[target::3] = pixels[source::SOURCE]
    return bytes(made)


def _colour(planes: Sequence[bytes], at: int) -> bytes:
    """The pixel ``at`` that place."""
    return bytes(plane[at] for plane in planes)


def _woven(planes: Sequence[bytes]) -> bytes:
    """Pixels of their bytes."""
    made = bytearray(len(planes[0]) * len(planes))
    for place, plane in enumerate(planes):
        made[place :: len(planes)] = plane
    return bytes(made)


def _compact_length(length: int) -> bytes:
    """A length of up to 22 bits: seven in each byte, the lowest first, eight in the third."""
    if length < 1 << 7:
        return bytes((length,))
    if length < 1 << 14:
        return bytes((length & 0x7F | 0x80, length >> 7))
    return bytes((length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14))
