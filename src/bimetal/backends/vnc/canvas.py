"""The picture that all viewers of a screen are sent, and what has changed in it.

One copy for all of them: what the guest draws is copied under the machine's lock, and compared with
what was there without it. So a device that cannot say where something was drawn is served too, and
one that says too much costs no bandwidth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from bimetal.backends.vnc.moves import WORTH, Move, MoveFinder
from bimetal.screen.damage import TILE, Damage
from bimetal.screen.pixels import PIXEL
from bimetal.screen.screen import Cursor, Screen
from bimetal.screen.surface import Picture, Surface

__all__ = ["Canvas"]

NOTHING_WIDTH, NOTHING_HEIGHT = 640, 480
"""What is seen, in black, as long as nothing is shown."""

Lock = Callable[[], AbstractContextManager[object]]


class Canvas:
    """A copy of what ``screen`` shows; ``lock`` is the machine's. ``news`` is called, with that
    lock held and in any thread, when there is something to look at that was not before. A `Viewer`.
    """

    def __init__(self, screen: Screen, lock: Lock, news: Callable[[], None]):
        self._screen, self._lock, self._news = screen, lock, news
        self.width, self.height = NOTHING_WIDTH, NOTHING_HEIGHT
        self.pixels: bytes | bytearray = bytes(self.width * self.height * PIXEL)
        """What viewers see, in the form for them."""
        self._finder = MoveFinder()
        self.moves: list[Move] = []
        """What had only moved at the last look."""
        self.cursor: Cursor | None = None
        self.announces = screen.announces
        """Whether there is nothing to look at before ``news`` was called."""
        self._dark = True
        self._rows = -1
        """The rows of tiles to look at, a bit each; all at first."""
        with lock():
            screen.viewers.append(self)

    def close(self) -> None:
        """Look no more. Call with the machine's lock held."""
        if self in self._screen.viewers:
            self._screen.viewers.remove(self)

    # See Viewer

    def replaced(self) -> None:
        self._rows = -1
        self._news()

    def drawn(self, x: int, y: int, width: int, height: int) -> None:
        self._rows |= (1 << -(-(y + height) // TILE)) - (1 << y // TILE)
        self._news()

    def pointed(self) -> None:
        self._news()

    # For the server, in its own thread

    def look(self, *, moves: bool = False) -> Damage:
        """Copy what is shown now; where that differs from before. If the size is another one now,
        everything does. What has only moved is in ``moves`` afterwards, if that is wanted."""
        self.moves = []
        with self._lock():
            rows = self._rows if self.announces else -1
            self._rows = 0
            surface, self.cursor = self._screen.surface, self._screen.cursor
            pictures = [] if surface is None else _copies(surface, rows)
        if surface is None:
            return self._darken() if rows else Damage(self.width, self.height)
        damage = self._fit(surface.width, surface.height)
        self._take(pictures, damage, moves=moves and not damage)
        self._dark = False
        return damage

    def rectangle(self, x: int, y: int, width: int, height: int) -> bytes:
        """Pixels in the form for viewers, black where there are none."""
        row, right = self.width * PIXEL, min(x + width, self.width)
        taken = max(0, right - x) * PIXEL
        bottom = min(y + height, self.height)
        starts = range(y * row + x * PIXEL, bottom * row + x * PIXEL, row)
        if taken == width * PIXEL:
            found = b"".join([self.pixels[at : at + taken] for at in starts])
        else:
            gap = bytes(width * PIXEL - taken)
            found = b"".join([self.pixels[at : at + taken] + gap for at in starts])
        return found + bytes(width * height * PIXEL - len(found))

    def _fit(self, width: int, height: int) -> Damage:
        """Have this size; what has changed by that."""
        damage = Damage(width, height)
        if (width, height) != (self.width, self.height):
            self.width, self.height = width, height
            self.pixels = bytes(width * height * PIXEL)
            damage.add_all()
        return damage

    def _darken(self) -> Damage:
        damage = self._fit(NOTHING_WIDTH, NOTHING_HEIGHT)
        if not self._dark:
            self._dark = True
            self.pixels = bytes(len(self.pixels))
            damage.add_all()
        return damage

    def _take(self, pictures: Sequence[Picture], damage: Damage, *, moves: bool) -> None:
        """Have the rows of ``pictures``, whole rows of tiles; what differs is ``damage``."""
        row, old = self.width * PIXEL, memoryview(self.pixels)
        taken = [(picture.top * row, bytes(picture.pixels())) for picture in pictures]
        for place, new in taken:
            for start in range(0, len(new), TILE * row):
                end = min(len(new), start + TILE * row)
                if not new.startswith(old[place + start : place + end], start):
                    self._compare(new, start, end, place, damage)
        moves = moves and damage.count >= WORTH
        if sum(len(new) for _, new in taken) == len(old):
            self.pixels = taken[0][1]
        else:
            in_place = not moves and isinstance(self.pixels, bytearray)
            fresh = self.pixels if in_place else bytearray(old)
            assert isinstance(fresh, bytearray)
            for place, new in taken:
                fresh[place : place + len(new)] = new
            self.pixels = fresh
        if moves:
            self.moves = self._finder.find(old, self.pixels, damage)

    def _compare(self, new: bytes, start: int, end: int, shift: int, damage: Damage) -> None:
        """Find the tiles that differ in one row of them, bytes ``start`` to ``end`` of ``new``,
        which are ``shift`` bytes further on in our own pixels."""
        row, old = self.width * PIXEL, memoryview(self.pixels)
        tiles = (start + shift) // row // TILE
        left = [column for column in range(-(-self.width // TILE))
                if not damage.has_tile(column, tiles)]  # fmt: skip
        for at in range(start, end, row):
            if not left:
                return
            if new.startswith(old[at + shift : at + shift + row], at):
                continue
            for column in tuple(left):
                first = at + column * TILE * PIXEL
                last = min(first + TILE * PIXEL, at + row)
                if not new.startswith(old[first + shift : last + shift], first):
                    damage.add_tile(column, tiles)
                    left.remove(column)


def _copies(surface: Surface, rows: int) -> list[Picture]:
    """The rows of tiles that are to be looked at, neighbours together."""
    count = -(-surface.height // TILE)
    found, first = [], None
    for row in range(count + 1):
        wanted = row < count and rows >> row & 1
        if wanted and first is None:
            first = row
        elif not wanted and first is not None:
            top = first * TILE
            found.append(surface.copy(top, min(row * TILE, surface.height) - top))
            first = None
    return found
