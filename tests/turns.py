"""Turns that a test gives to devices."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Deferred"]


class Deferred(list[Callable[[], None]]):
    """The turns that were asked for. ``patient`` counts those that may wait for a lull."""

    patient = 0

    def __call__(self, turn: Callable[[], None], /) -> None:
        self.append(turn)

    def in_a_lull(self, turn: Callable[[], None], /) -> None:
        self.patient += 1
        self.append(turn)
