"""Resources of the GPU device: pictures in memory of the host, and the guest's memory that they are
filled from (virtio 1.2, section 5.7.6.1).

A driver says how large a resource is and where its backing lies; both are checked here before
anything is done with them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import NamedTuple

from bimetal.base.errors import GuestError
from bimetal.devices.virtio.gpu_format import FORMATS
from bimetal.memory.contents import PAGE, Stretch
from bimetal.memory.space import AddressSpace
from bimetal.screen.pixels import PIXEL
from bimetal.screen.surface import Surface, fits

__all__ = ["ENTRIES_LIMIT", "PIECE_COST", "Backing", "Rectangle", "Resource"]

ENTRIES_LIMIT = 16384
"""Pieces of a backing at most: what a picture of 4096 by 4096 pixels needs in pages of 4 KiB."""

ROWS_AT_ONCE = 64
"""Rows that are moved before others may get a turn."""

PIECE_COST = 512
"""What a piece of a backing counts for in a turn, besides its bytes."""


class Rectangle(NamedTuple):
    """Pixels from ``x`` and ``y`` on; nothing is said of whether they are anywhere."""

    x: int
    y: int
    width: int
    height: int

    def inside(self, width: int, height: int) -> bool:
        """Whether it has pixels, all of which lie in a picture of that size."""
        if not self.width or not self.height:
            return False
        return self.x + self.width <= width and self.y + self.height <= height

    def cut(self, other: Rectangle) -> Rectangle | None:
        """What both have in common."""
        left, top = max(self.x, other.x), max(self.y, other.y)
        right = min(self.x + self.width, other.x + other.width)
        bottom = min(self.y + self.height, other.y + other.height)
        if left >= right or top >= bottom:
            return None
        return Rectangle(left, top, right - left, bottom - top)


class Backing:
    """The pieces of guest memory that a resource is filled from, one after the other: ``entries``
    are addresses and lengths. Raises `BadAddress` if they are no memory."""

    def __init__(self, space: AddressSpace, entries: Iterable[tuple[int, int]]):
        self._space = space
        self.entries = list(_joined(entries))
        self._starts = [0, *accumulate(length for _, length in self.entries)]
        self._map()

    @property
    def size(self) -> int:
        """Bytes of all pieces."""
        return self._starts[-1]

    def read_into(self, at: int, target: memoryview) -> int:
        """Fill ``target`` with what lies from byte ``at`` on; of how many pieces. Raises
        `GuestError` if the last one ends before that, or if memory has gone away."""
        if at + len(target) > self.size:
            raise GuestError("a transfer goes beyond the backing of its resource")
        if self._generation != self._space.generation:
            self._map()
        first, done = bisect_right(self._starts, at) - 1, 0
        number = first
        while done < len(target):
            inside = at + done - self._starts[number]
            piece = self._pieces[number][inside : inside + len(target) - done]
            target[done : done + len(piece)] = piece
            done += len(piece)
            number += 1
        return number - first

    def _map(self) -> None:
        self._pieces = [self._space.view(address, length) for address, length in self.entries]
        self._generation = self._space.generation


class Resource:
    """A picture of ``width`` by ``height`` pixels of a format in `FORMATS`, black at first. Raises
    `GuestError` for what is none."""

    def __init__(self, format: int, width: int, height: int):
        if format not in FORMATS:
            raise GuestError("a resource of an unknown format")
        if not fits(width, height):
            raise GuestError("a resource of an impossible size")
        self.format, self.width, self.height = format, width, height
        self.memory = memoryview(bytearray(self.size_for(width, height)))
        self.backing: Backing | None = None

    @staticmethod
    def size_for(width: int, height: int) -> int:
        """Bytes of memory that it takes: whole pages, as snapshots keep them."""
        return -(-width * height * PIXEL // PAGE) * PAGE

    @property
    def stride(self) -> int:
        """Bytes from a row to the next."""
        return self.width * PIXEL

    @property
    def area(self) -> Stretch:
        """Its memory, as a snapshot keeps it."""
        return Stretch(self.memory)

    def surface(self, part: Rectangle) -> Surface:
        """A part of it, which lies inside, for the screen."""
        start = part.y * self.stride + part.x * PIXEL
        memory = self.memory[start : start + (part.height - 1) * self.stride + part.width * PIXEL]
        return Surface(part.width, part.height, self.stride, FORMATS[self.format], memory)

    def transfer(self, part: Rectangle, offset: int) -> Iterator[int]:
        """Fill ``part``, which lies inside, from byte ``offset`` of the backing on, where rows are
        as far apart as here. Yields after some rows what they cost. Raises `GuestError`."""
        if self.backing is None:
            raise GuestError("a transfer from a resource without backing")
        stride, row = self.stride, part.width * PIXEL
        first = part.y * stride + part.x * PIXEL
        for top in range(0, part.height, ROWS_AT_ONCE):
            count, used = min(ROWS_AT_ONCE, part.height - top), 0
            if row == stride:
                start = first + top * stride
                target = self.memory[start : start + count * stride]
                used = self.backing.read_into(offset + top * stride, target)
            else:
                for line in range(top, top + count):
                    start = first + line * stride
                    target = self.memory[start : start + row]
                    used += self.backing.read_into(offset + line * stride, target)
            yield count * row + used * PIECE_COST


def _joined(entries: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The same memory in as few pieces as possible, none of them empty."""
    start = end = 0
    for address, length in entries:
        if address == end and end > start:
            end += length
        else:
            if end > start:
                yield start, end - start
            start, end = address, address + length
    if end > start:
        yield start, end - start
