"""How the pixels of a frame buffer lie in memory, and the one form in which viewers get them.

That form is what most guests have anyway: four bytes a pixel, blue, green, red and one that means
nothing, or how opaque a pixel of a cursor is. It is ``XRGB8888`` in the words of Linux's DRM, which
count from the highest bit of a little-endian word. Others become it by slices of whole pictures, so
that no pixel costs Python.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

__all__ = ["BGRX", "PIXEL", "RGB565", "PixelFormat", "ordered"]

PIXEL = 4
"""Bytes of a pixel in the form for viewers."""

Converter = Callable[[bytes], bytes | bytearray]


class PixelFormat(Struct, frozen=True):
    """Pixels of ``size`` bytes; ``converted`` makes the form for viewers of whole pixels, one after
    the other."""

    size: int
    converted: Converter


def ordered(size: int, *places: int) -> PixelFormat:
    """Pixels of which each colour is one byte: ``places`` are the numbers of those for blue, green,
    red, and perhaps opacity."""
    if size == PIXEL and places == (0, 1, 2, 3):
        return PixelFormat(size, _unchanged)

    def convert(pixels: bytes) -> bytearray:
        made = bytearray(len(pixels) // size * PIXEL)
        for target, source in enumerate(places):
            made[target::PIXEL] = pixels[source::size]
        return made

    return PixelFormat(size, convert)


def _unchanged(pixels: bytes) -> bytes:
    return pixels


def _table(colour: Callable[[int], int]) -> bytes:
    return bytes(colour(byte) for byte in range(256))


_BLUE = _table(lambda low: (low & 31) << 3 | (low & 31) >> 2)
_GREEN_LOW = _table(lambda low: low >> 5 << 2)
_GREEN_HIGH = _table(lambda high: (high & 7) << 5 | (high & 7) >> 1)
_RED = _table(lambda high: high & 0xF8 | high >> 5)
"""What the low and the high byte of a pixel of 5, 6 and 5 bits have of each colour; the upper bits
of a colour are repeated below, so that white is white."""


def _from_565(pixels: bytes) -> bytearray:
    low, high = pixels[::2], pixels[1::2]
    made = bytearray(len(low) * PIXEL)
    green = int.from_bytes(low.translate(_GREEN_LOW), "little")
    green |= int.from_bytes(high.translate(_GREEN_HIGH), "little")
    made[0::PIXEL] = low.translate(_BLUE)
    made[1::PIXEL] = green.to_bytes(len(low), "little")
    made[2::PIXEL] = high.translate(_RED)
    return made


BGRX = ordered(4, 0, 1, 2, 3)
"""The form for viewers."""

RGB565 = PixelFormat(2, _from_565)
"""Little-endian words of 5 bits of red, 6 of green and 5 of blue."""
