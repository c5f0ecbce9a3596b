"""The memory that a display device shows."""

from __future__ import annotations

from msgspec import Struct

from bimetal.screen.pixels import PixelFormat

__all__ = ["PIXELS_LIMIT", "SIDE_LIMIT", "Picture", "Surface", "fits"]

SIDE_LIMIT = 8192
"""Pixels of the width, or of the height, of a picture at most."""

PIXELS_LIMIT = 16 << 20
"""Pixels of a picture at most: whoever shows it has copies of it, of four bytes each."""


def fits(width: int, height: int) -> bool:
    """Whether a picture may have this size, which a guest has chosen."""
    inside = 0 < width <= SIDE_LIMIT and 0 < height <= SIDE_LIMIT
    return inside and width * height <= PIXELS_LIMIT


class Picture(Struct, frozen=True):
    """Whole rows of a surface, copied from row ``top`` on, as they lay there but for the gaps
    between them."""

    width: int
    height: int
    top: int
    format: PixelFormat
    data: bytes

    def pixels(self) -> bytes | bytearray:
        """The pixels in the form for viewers (`bimetal.screen.pixels`)."""
        return self.format.converted(self.data)


class Surface(Struct, frozen=True):
    """A rectangle of pixels in ``memory``, which its owner goes on writing to. ``stride`` is the
    number of bytes from a row to the next; the memory begins with the first row and ends with the
    last, or later."""

    width: int
    height: int
    stride: int
    format: PixelFormat
    memory: memoryview

    def __post_init__(self) -> None:
        if not fits(self.width, self.height) or self.stride < self.row_bytes:
            raise ValueError(f"no surface of {self.width} x {self.height} every {self.stride}")
        if len(self.memory) < self.stride * (self.height - 1) + self.row_bytes:
            raise ValueError(f"{len(self.memory)} bytes are no {self.height} rows")

    @property
    def row_bytes(self) -> int:
        """Bytes of the pixels of a row."""
        return self.width * self.format.size

    def copy(self, top: int = 0, height: int | None = None) -> Picture:
        """``height`` rows, by default all, as they are now. It takes no longer than a copy of
        memory does, since whoever asks holds the machine's lock."""
        count = self.height - top if height is None else height
        start, row = top * self.stride, self.row_bytes
        if self.stride == row:
            data = bytes(self.memory[start : start + count * row])
        else:
            starts = range(start, start + count * self.stride, self.stride)
            data = b"".join([self.memory[at : at + row] for at in starts])
        return Picture(self.width, count, top, self.format, data)
