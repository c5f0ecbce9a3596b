"""Where a picture has changed since somebody last looked: tiles of it, so that however much is
drawn takes no more memory than this, and rectangles that overlap or touch become one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["TILE", "Area", "Damage"]

TILE = 64
"""Pixels of a side of a tile."""


class Area(NamedTuple):
    """A rectangle of a picture."""

    x: int
    y: int
    width: int
    height: int


class Damage:
    """Tiles of a picture of ``width`` by ``height`` pixels, none at first."""

    def __init__(self, width: int, height: int):
        self.width, self.height = width, height
        self._whole = (1 << -(-width // TILE)) - 1
        self._rows = [0] * -(-height // TILE)
        """For each row of tiles a bit for each tile."""

    def __bool__(self) -> bool:
        return any(self._rows)

    def add(self, area: Area) -> None:
        """This rectangle has changed, as far as it is in the picture."""
        mask = self._columns(area.x, area.x + area.width)
        for row in self._bands(area):
            self._rows[row] |= mask

    def add_tile(self, column: int, row: int) -> None:
        """This tile has changed; it is one of the picture."""
        self._rows[row] |= 1 << column

    def add_all(self) -> None:
        """Everything has changed."""
        self._rows = [self._whole] * len(self._rows)

    def has_tile(self, column: int, row: int) -> bool:
        """Whether this tile, which is one of the picture, has changed."""
        return bool(self._rows[row] >> column & 1)

    @property
    def count(self) -> int:
        """How many tiles have changed."""
        return sum(row.bit_count() for row in self._rows)

    def runs(self) -> Iterator[tuple[int, int, int]]:
        """Tiles side by side that have changed: the column of the first, that behind the last, and
        their row."""
        for row, mask in enumerate(self._rows):
            for first, behind in _runs(mask):
                yield first, behind, row

    def mend(self, area: Area) -> None:
        """Tiles that lie wholly in ``area`` have not changed any more."""
        bottom = min(area.y + area.height, self.height)
        inside = self._inside(area.x, min(area.x + area.width, self.width))
        for row in self._bands(area):
            if area.y <= row * TILE and min(self.height, (row + 1) * TILE) <= bottom:
                self._rows[row] &= ~inside

    def merge(self, other: Damage) -> None:
        """What has changed in a picture with the same corner has changed here too."""
        for row, mask in enumerate(other._rows[: len(self._rows)]):
            self._rows[row] |= mask & self._whole

    def touches(self, area: Area) -> bool:
        """Whether something has changed in this rectangle."""
        mask = self._columns(area.x, area.x + area.width)
        return any(self._rows[row] & mask for row in self._bands(area))

    def take(self, area: Area) -> list[Area]:
        """The rectangles that have changed inside of ``area``, as few as tiles side by side and in
        equal rows make; tiles that lie wholly inside are not damaged any more."""
        right = min(area.x + area.width, self.width)
        bottom = min(area.y + area.height, self.height)
        touched, inside = self._columns(area.x, right), self._inside(area.x, right)
        found: list[Area] = []
        before: dict[tuple[int, int], int] = {}
        """Runs of the row before, and the index of the rectangle that they belong to."""
        for row in self._bands(area):
            top, end = max(area.y, row * TILE), min(bottom, (row + 1) * TILE)
            runs: dict[tuple[int, int], int] = {}
            for first, behind in _runs(self._rows[row] & touched):
                left = max(area.x, first * TILE)
                width = min(right, behind * TILE) - left
                index = before.get((first, behind))
                if index is None:
                    index = len(found)
                    found.append(Area(left, top, width, end - top))
                else:
                    found[index] = found[index]._replace(height=end - found[index].y)
                runs[first, behind] = index
            if area.y <= row * TILE and end == min(self.height, (row + 1) * TILE):
                self._rows[row] &= ~inside
            before = runs
        return found

    def _bands(self, area: Area) -> range:
        """The rows of tiles that a rectangle touches."""
        top, bottom = max(0, area.y), min(area.y + area.height, self.height)
        return range(top // TILE, -(-bottom // TILE)) if top < bottom else range(0)

    def _columns(self, left: int, right: int) -> int:
        """The tiles of a row that a stretch touches."""
        left, right = max(0, left), min(right, self.width)
        if left >= right:
            return 0
        return (1 << -(-right // TILE)) - (1 << left // TILE)

    def _inside(self, left: int, right: int) -> int:
        """The tiles of a row that lie wholly in a stretch."""
        first = -(-max(0, left) // TILE)
        behind = -(-right // TILE) if right >= self.width else right // TILE
        return (1 << behind) - (1 << first) if behind > first else 0


def _runs(mask: int) -> list[tuple[int, int]]:
    """The runs of bits that are set: the first of each, and the one behind it."""
    runs, at = [], 0
    while mask:
        skipped = (mask & -mask).bit_length() - 1
        mask >>= skipped
        length = (~mask & mask + 1).bit_length() - 1
        mask >>= length
        at += skipped
        runs.append((at, at + length))
        at += length
    return runs
