"""How far long work is."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Progress", "Steps", "no_progress"]

Progress = Callable[[float], None]
"""Called now and then with what is done, from 0 to 1."""


def no_progress(done: float) -> None:
    """Tell nobody."""


class Steps:
    """Work of ``total`` parts, told to ``progress``."""

    def __init__(self, total: int, progress: Progress):
        self._total, self._done, self._progress = max(total, 1), 0, progress
        progress(0.0)

    def done(self, parts: int) -> None:
        """So many parts more are done."""
        self._done += parts
        self._progress(min(self._done / self._total, 1.0))
