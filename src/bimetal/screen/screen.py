"""A screen: the one thing that a display device and its viewers both know.

The device says where the picture is that it shows; a viewer copies it when it wants to. The device
does not know who looks, or how often: a viewer that does not cannot make it wait.
"""

from __future__ import annotations

from collections.abc import Callable

from bimetal.screen.surface import Surface

__all__ = ["Screen"]


def _nothing() -> None:
    return None


class Screen:
    """Use it under the machine's lock only. ``source`` is asked for the surface whenever somebody
    looks, as the memory behind it may come and go; it answers None as long as nothing is shown."""

    def __init__(self, source: Callable[[], Surface | None] = _nothing) -> None:
        self._source = source

    @property
    def surface(self) -> Surface | None:
        """What the device shows now; None if that is nothing."""
        return self._source()
