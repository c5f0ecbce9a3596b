"""Which parts of a disk have to be copied."""

from __future__ import annotations

__all__ = ["GRANULE", "Dirty"]

GRANULE = 64 << 10
"""Bytes that are told apart."""


class Dirty:
    """Parts of a disk of ``size`` bytes; none at first. It is a `Watcher` that marks what
    changes."""

    def __init__(self, size: int):
        self._size = size
        self._marks = bytearray(-(-size // GRANULE))

    def mark(self, offset: int, length: int) -> None:
        """These bytes have to be copied."""
        if length:
            first, stop = offset // GRANULE, -(-(offset + length) // GRANULE)
            self._marks[first:stop] = b"\1" * (stop - first)

    def ready(self, offset: int, length: int) -> bool:
        """See `Watcher.ready`."""
        self.mark(offset, length)
        return True

    def before(self, offset: int, length: int) -> None:
        """See `Watcher.before`."""
        self.mark(offset, length)

    def clear(self, offset: int, length: int) -> None:
        """The granules that lie wholly in these bytes, or at the end of the disk, are copied."""
        first, end = -(-offset // GRANULE), offset + length
        stop = len(self._marks) if end >= self._size else end // GRANULE
        if first < stop:
            self._marks[first:stop] = bytes(stop - first)

    def next(self, start: int = 0) -> tuple[int, int] | None:
        """Offset and length of the first marked bytes from ``start`` on, None if there are none."""
        first = self._marks.find(1, start // GRANULE)
        if first < 0:
            return None
        stop = self._marks.find(0, first)
        stop = len(self._marks) if stop < 0 else stop
        return first * GRANULE, min(stop * GRANULE, self._size) - first * GRANULE

    @property
    def bytes(self) -> int:
        """How many are marked."""
        return min(self._marks.count(1) * GRANULE, self._size)
