"""Telling when writes come so far into an image that its storage had better be made larger."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Passed", "Threshold"]


class Threshold:
    """Tells once when something is written beyond ``limit`` bytes: ``tell`` is called with how many
    bytes beyond, in the thread that writes."""

    def __init__(self, limit: int, tell: Callable[[int], None]):
        self._limit, self._tell = limit, tell

    @property
    def limit(self) -> int:
        """The limit, 0 once it has told."""
        return self._limit

    def mark(self, offset: int, length: int) -> None:
        """These bytes are about to be written."""
        beyond = offset + length - self._limit
        if beyond > 0 and self._limit:
            self._limit = 0
            self._tell(beyond)


class Passed:
    """Has ``threshold`` tell of the ``end`` of a file, which lies beyond it, at the next write to
    the disk, wherever that comes."""

    def __init__(self, threshold: Threshold, end: int):
        self._threshold, self._end = threshold, end

    def mark(self, offset: int, length: int) -> None:
        """Something is about to be written."""
        self._threshold.mark(self._end, 0)
