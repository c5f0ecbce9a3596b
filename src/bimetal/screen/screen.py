"""A screen: the one thing that a display device and its viewers both know.

The device says where the picture is that it shows; a viewer copies it when it wants to. The device
does not know who looks, or how often: a viewer that does not cannot make it wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from bimetal.screen.surface import Surface

__all__ = ["Cursor", "Screen", "Viewer"]


class Cursor(NamedTuple):
    """A picture that viewers draw where the pointer is, whose ``hot`` pixel is at the very place.
    Pixels are in the form for viewers, with their opacity as the fourth byte."""

    width: int
    height: int
    hot_x: int
    hot_y: int
    pixels: bytes


class Viewer(Protocol):
    """Who looks at a screen. Called under the machine's lock: take note, and do the rest later."""

    def replaced(self) -> None:
        """Another surface is shown, or none."""

    def drawn(self, x: int, y: int, width: int, height: int) -> None:
        """The device has drawn here; the rectangle lies within the surface."""

    def pointed(self) -> None:
        """There is another cursor, or none."""


def _nothing() -> None:
    return None


class Screen:
    """Use it under the machine's lock only.

    ``source`` is asked for the surface whenever somebody looks, as the memory behind it may come
    and go; it answers None as long as nothing is shown. A device that ``announces`` tells of all
    that it draws; what is on the screen of another one may change at any time. ``resize`` tells the
    guest which size would suit the viewer, if the device can do that.
    """

    def __init__(
        self,
        source: Callable[[], Surface | None] = _nothing,
        *,
        announces: bool = False,
        resize: Callable[[int, int], None] | None = None,
    ) -> None:
        self._source, self.announces, self.resize = source, announces, resize
        self.cursor: Cursor | None = None
        self.viewers: list[Viewer] = []

    @property
    def surface(self) -> Surface | None:
        """What the device shows now; None if that is nothing."""
        return self._source()

    # For the device

    def replaced(self) -> None:
        """Another surface is shown from now on, or none."""
        for viewer in self.viewers:
            viewer.replaced()

    def drawn(self, x: int, y: int, width: int, height: int) -> None:
        """This rectangle of the surface has been drawn."""
        for viewer in self.viewers:
            viewer.drawn(x, y, width, height)

    def point(self, cursor: Cursor | None) -> None:
        """Have viewers draw this cursor, or none."""
        self.cursor = cursor
        for viewer in self.viewers:
            viewer.pointed()
