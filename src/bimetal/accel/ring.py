"""Ring buffers that vCPUs write in native code and other threads read without stopping them."""

from __future__ import annotations

from .vcpu_state import VcpuState

__all__ = ["RingReader"]


class RingReader:
    """A reader of a ring: what is new since its last look, and how many entries it missed.

    The ring called ``ring`` in a vCPU's state holds ``size`` entries of ``words`` words; entry n is
    at index n modulo ``size``, and ``count`` is the variable that counts them. A vCPU never waits
    for a reader, so one that comes too late misses entries.
    """

    def __init__(
        self, state: VcpuState, ring: str, count: str, size: int, words: int = 1, seen: int = 0
    ):
        self._state = state
        self._count, self._ring = state.word(count), state.word(ring)
        self._size, self._entry = size, words
        self.seen, self.lost = seen, 0

    def take(self) -> list[int]:
        """The words of all entries since the last call, oldest first."""
        total = self._state.words[self._count]
        if total == self.seen:
            return []
        start = max(self.seen, total - self._size)
        fresh = self._copy(start, total)
        # The vCPU keeps running and may have overwritten the oldest entries meanwhile; the one that
        # it is writing now is not counted yet.
        valid = max(start, min(total, self._state.words[self._count] + 1 - self._size))
        self.lost += valid - self.seen
        self.seen = total
        return fresh[(valid - start) * self._entry :]

    def _copy(self, start: int, end: int) -> list[int]:
        first, last = start % self._size, end % self._size
        if first < last:
            return self._slice(first, last)
        return self._slice(first, self._size) + self._slice(0, last)

    def _slice(self, first: int, last: int) -> list[int]:
        start, end = (self._ring + self._entry * n for n in (first, last))
        return self._state.words[start:end].tolist()
