"""Transfers between memory and a disk that are carried out later, and by whoever has the time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["Transfer"]


class Transfer:
    """Bytes that go from ``buffers`` to a disk, from ``offset`` on, if it ``writes``, or else the
    other way; and the ``error`` that came of it, if any."""

    __slots__ = ("buffers", "error", "offset", "writes")

    def __init__(self, offset: int, buffers: Sequence[memoryview], *, writes: bool):
        self.offset, self.buffers, self.writes = offset, buffers, writes
        self.error: OSError | None = None

    def attempt(self, work: Callable[[], None]) -> None:
        """Do the ``work`` that the transfer is, and keep the OSError that it raises."""
        try:
            work()
        except OSError as error:
            self.error = error
