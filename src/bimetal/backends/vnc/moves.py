"""What of a picture has only moved: a text that scrolls, a window that is dragged (CopyRect, RFC
6143, section 7.7.2).

A few pieces of what has changed are looked for in the picture before, which says how far it may
have moved. Whatever is found is compared, byte by byte, tile by tile: only what is the same counts,
so a wrong guess costs time and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bimetal.screen.damage import TILE, Area, Damage
from bimetal.screen.pixels import PIXEL

__all__ = ["WORTH", "Move", "MoveFinder"]

Pixels = bytes | bytearray
Way = tuple[int, int]
"""How far to the right, and further down, something was before."""

WORTH = 4
"""Tiles that have to have changed, and to be found elsewhere, before it is worth a rectangle."""

PROBED_ROWS = (5, 21, 38, 54)
"""Rows of a tile of which the first that is not of one colour is looked for."""
PROBES, REACH = 6, 256
"""Pieces that are looked for above and below, and how many rows up and down."""
WIDE_PROBES, WIDE_REACH = 2, 96
"""The same for pieces that are looked for to the left and right, too, which takes longer."""
REST = 8
"""Looks after one in which that was in vain, before it is tried again."""


class Move(NamedTuple):
    """What is in the rectangle ``to`` was so many pixels to the right, and further down, before."""

    to: Area
    right: int
    down: int

    @property
    def source(self) -> Area:
        """Where it was."""
        return self.to._replace(x=self.to.x + self.right, y=self.to.y + self.down)


class MoveFinder:
    """Finds what has moved from one look at a picture to the next."""

    def __init__(self) -> None:
        self._rest = 0

    def find(self, old: memoryview, new: Pixels, damage: Damage) -> list[Move]:
        """What has moved in what has changed, its ``damage``, in an order in which no rectangle is
        overwritten before it was copied. Both pictures have the size of that."""
        tiles = [
            (column, row) for first, behind, row in damage.runs() for column in range(first, behind)
        ]
        if len(tiles) < WORTH:
            return []
        votes = Counter[Way]()
        for piece in _pieces(new, damage.width, _spread(tiles, PROBES)):
            votes.update(piece.above_and_below(old))
        moves = _tried(old, new, damage, votes)
        if moves or self._rest:
            self._rest = max(0, self._rest - 1)
            return moves
        for piece in _pieces(new, damage.width, _spread(tiles, WIDE_PROBES)):
            votes.update(piece.all_around(old))
        moves = _tried(old, new, damage, votes)
        self._rest = 0 if moves else REST
        return moves


class _Piece(NamedTuple):
    """A part of a row of a picture of that ``width``, as long as a tile is wide."""

    x: int
    y: int
    width: int
    data: bytes

    def above_and_below(self, old: memoryview) -> Iterator[Way]:
        """How far away it is found above, and below."""
        row, length = self.width * PIXEL, len(self.data)
        here = (self.y * self.width + self.x) * PIXEL
        for step in (-row, row):
            last = here + step * REACH
            for at in range(here + step, min(max(last, -1), len(old)), step):
                if self.data.startswith(old[at : at + length]):
                    yield 0, (at - here) // row
                    break

    def all_around(self, old: memoryview) -> Iterator[Way]:
        """How far away it is found, wherever."""
        row, length = self.width * PIXEL, len(self.data)
        here = (self.y * self.width + self.x) * PIXEL
        first = max(0, here - WIDE_REACH * row)
        near, middle = bytes(old[first : here + length + WIDE_REACH * row]), here - first
        for found in (
            near.find(self.data, middle + 1),
            near.rfind(self.data, 0, middle + length - 1),
        ):
            at = first + found
            if found >= 0 and at % PIXEL == 0 and at % row + length <= row:
                yield (at % row) // PIXEL - self.x, at // row - self.y


def _spread(tiles: Sequence[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    """So many of the tiles, from all over the picture."""
    return [tiles[(2 * number + 1) * len(tiles) // (2 * count)] for number in range(count)]


def _pieces(new: Pixels, width: int, tiles: Sequence[tuple[int, int]]) -> Iterator[_Piece]:
    """A piece of each of these tiles that are not of one colour."""
    for column, band in tiles:
        x = column * TILE
        length = min(TILE, width - x) * PIXEL
        for row in PROBED_ROWS:
            y = band * TILE + row
            at = (y * width + x) * PIXEL
            data = bytes(new[at : at + length])
            if len(data) == length and data != data[:PIXEL] * (length // PIXEL):
                yield _Piece(x, y, width, data)
                break


def _tried(old: memoryview, new: Pixels, damage: Damage, votes: Counter[Way]) -> list[Move]:
    """What has moved as the likeliest of some guesses says."""
    for (right, down), _ in votes.most_common(2):
        moved = _moved(old, new, damage, right, down)
        if moved.count >= WORTH:
            return _in_order(moved, right, down)
    return []


def _moved(old: memoryview, new: Pixels, damage: Damage, right: int, down: int) -> Damage:
    """The tiles of the ``damage`` that have moved like that."""
    width, height = damage.width, damage.height
    found = Damage(width, height)
    row, shift = width * PIXEL, (down * width + right) * PIXEL

    def same(left: int, end: int, top: int, bottom: int) -> bool:
        if left + right < 0 or end + right > width:
            return False
        starts = range(top * row + left * PIXEL, bottom * row + left * PIXEL, row)
        length, first = (end - left) * PIXEL, starts[0]
        if not new.startswith(old[first + shift : first + shift + length], first):
            return False
        if length == row:
            starts, length = starts[:1], (bottom - top) * row
        return all(new.startswith(old[at + shift : at + shift + length], at) for at in starts)

    for first, behind, band in damage.runs():
        top, bottom = band * TILE, min((band + 1) * TILE, height)
        if top + down < 0 or bottom + down > height:
            continue
        if same(first * TILE, min(behind * TILE, width), top, bottom):
            found.add(Area(first * TILE, top, (behind - first) * TILE, bottom - top))
            continue
        for column in range(first, behind):
            if same(column * TILE, min((column + 1) * TILE, width), top, bottom):
                found.add_tile(column, band)
    return found


def _in_order(moved: Damage, right: int, down: int) -> list[Move]:
    """Rectangles of those tiles, without those that others would overwrite too early."""
    areas = moved.take(Area(0, 0, moved.width, moved.height))
    areas.sort(key=lambda area: (area.y * _sign(down), area.x * _sign(right)))
    moves, done = list[Move](), list[Area]()
    for area in areas:
        move = Move(area, right, down)
        if not any(_overlap(move.source, each) for each in done):
            moves.append(move)
            done.append(area)
    return moves


def _sign(number: int) -> int:
    return (number > 0) - (number < 0)


def _overlap(one: Area, other: Area) -> bool:
    across = one.x < other.x + other.width and other.x < one.x + one.width
    return across and one.y < other.y + other.height and other.y < one.y + one.height
