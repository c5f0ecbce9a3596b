"""Encodings of rectangles (RFC 6143, section 7.7), each with the state that one client needs.

Rectangles come as pixels in the form for viewers. All work on many pixels is done by slices and by
zlib, neither of which holds up other threads for long.
"""

from __future__ import annotations

import zlib
from struct import Struct
from typing import Protocol

from bimetal.backends.vnc.numbers import Encoding
from bimetal.backends.vnc.pixel_format import SOURCE, ClientFormat

__all__ = ["Encoder", "Raw", "Tight", "Zrle"]

ZRLE_TILE = 64
ZRLE_RAW, ZRLE_SOLID = 0, 1
"""Kinds of tiles (7.7.6)."""

TIGHT_FILL, TIGHT_COPY = 0x80, 0x00
"""Kinds of rectangles: a single colour; all pixels, as the first of four streams."""
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
    """Tiles of 64 by 64 pixels, packed by zlib: one colour, or all pixels. Shorter kinds of tiles
    would cost Python more than they would save zlib."""

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
                parts.append(_tile(tile, size))
        packed = self._packer.compress(b"".join(parts)) + self._packer.flush(zlib.Z_SYNC_FLUSH)
        return _LENGTH.pack(len(packed)) + packed


class Tight:
    """Rectangles of one colour, or all pixels, packed by zlib (rfbproto, "Tight Encoding")."""

    number = Encoding.TIGHT

    def __init__(self, level: int):
        self._packer = zlib.compressobj(level)

    def encode(self, pixels: bytes, width: int, height: int, format: ClientFormat) -> bytes:
        """See `Encoder`. A rectangle has at most 2048 columns."""
        if format.is_24_bits:
            data, size = _three_of_four(pixels, slice(2, None, -1)), 3
        else:
            data, size = format.convert(pixels), format.size
        if data == data[:size] * (width * height):
            return bytes((TIGHT_FILL,)) + data[:size]
        if len(data) < TIGHT_PLAIN_LIMIT:
            return bytes((TIGHT_COPY,)) + data
        packed = self._packer.compress(data) + self._packer.flush(zlib.Z_SYNC_FLUSH)
        return bytes((TIGHT_COPY,)) + _compact_length(len(packed)) + packed


def _tile(tile: bytes, size: int) -> bytes:
    if tile == tile[:size] * (len(tile) // size):
        return bytes((ZRLE_SOLID,)) + tile[:size]
    return bytes((ZRLE_RAW,)) + tile


def _three_of_four(pixels: bytes, which: slice) -> bytes:
    """Three bytes of each pixel of four, in the order of the slice."""
    made = bytearray(len(pixels) // SOURCE * 3)
    for target, source in enumerate(range(*which.indices(SOURCE))):
        made[target::3] = pixels[source::SOURCE]
    return bytes(made)


def _compact_length(length: int) -> bytes:
    """A length of up to 22 bits: seven in each byte, the lowest first, eight in the third."""
    if length < 1 << 7:
        return bytes((length,))
    if length < 1 << 14:
        return bytes((length & 0x7F | 0x80, length >> 7))
    return bytes((length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14))
