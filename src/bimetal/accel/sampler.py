"""Where harts execute: the samples that they leave at polls, read without stopping them.

A hart writes each sample into a ring in its state, see `codegen.polling`, and never waits for a
reader. So a reader that comes too late misses samples, and counts how many.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

from ..codegen.layout import PAGE, SAMPLE_WORDS, SAMPLES
from ..seam import Place, Samples
from .hart_state import HartState

__all__ = ["SampleReader", "Sampler"]

INTERVAL = 0.01
"""Seconds between looks at the rings, a tenth of the time in which the fastest hart fills one."""

PLACES = 1 << 18
"""Places told apart. A guest can make any number of them; beyond this they are summed by page."""

Key = tuple[int, int, int]
"""Program counter, mode, and 1 in a region."""


class SampleReader:
    """One reader of a hart's ring: what is new since it last looked, and what it missed."""

    def __init__(self, state: HartState, seen: int = 0):
        self._words = state.words
        self._count, self._ring = state.word("sample_count"), state.word("sample")
        self.seen, self.lost = seen, 0

    def take(self) -> list[int]:
        """The words of all samples since the last call, oldest first."""
        total = self._words[self._count]
        start = max(self.seen, total - SAMPLES)
        fresh = self._copy(start, total)
        # The hart runs on and may have overwritten the oldest ones meanwhile; the one that it
        # writes now is not counted yet.
        valid = max(start, min(total, self._words[self._count] + 1 - SAMPLES))
        self.lost += valid - self.seen
        self.seen = total
        return fresh[(valid - start) * SAMPLE_WORDS :]

    def _copy(self, start: int, end: int) -> list[int]:
        first, last = start % SAMPLES, end % SAMPLES
        if first < last or start == end:
            return self._slice(first, last)
        return self._slice(first, SAMPLES) + self._slice(0, last)

    def _slice(self, first: int, last: int) -> list[int]:
        start, end = (self._ring + SAMPLE_WORDS * n for n in (first, last))
        return self._words[start:end].tolist()


class Hart(Protocol):
    """A hart, as far as it is sampled."""

    state: HartState

    @property
    def sampled(self) -> int:
        """How many samples it has left since it was made."""


class Sampler:
    """Sums up the samples of ``harts``, in a thread of its own, until it is closed.

    ``modes`` are the names of the privilege modes by number. Harts may be added meanwhile.
    """

    def __init__(self, harts: Sequence[Hart], modes: Mapping[int, str]):
        self._harts, self._modes = harts, modes
        self._readers = [SampleReader(hart.state, hart.sampled) for hart in harts]
        self._counts: Counter[Key] = Counter()
        self._grain = 1
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bimetal-sampler", daemon=True)
        self._thread.start()

    def samples(self) -> Samples:
        """Everything up to now."""
        with self._lock:
            self._look()
            counts = {
                Place(pc, self._modes.get(mode, f"mode {mode}"), bool(in_region)): count
                for (pc, mode, in_region), count in self._counts.items()
            }
            return Samples(counts, sum(reader.lost for reader in self._readers))

    def close(self) -> None:
        """End the thread; `samples` still answers. Idempotent."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL):
            with self._lock:
                self._look()

    def _look(self) -> None:
        for hart in self._harts[len(self._readers) :]:
            self._readers.append(SampleReader(hart.state))
        for reader in self._readers:
            words = reader.take()
            pcs = words[2::SAMPLE_WORDS]
            if self._grain > 1:
                pcs = [pc & -self._grain for pc in pcs]
            self._counts.update(
                zip(pcs, words[3::SAMPLE_WORDS], words[4::SAMPLE_WORDS], strict=True)
            )
        if len(self._counts) > PLACES and self._grain < PAGE:
            self._grain = PAGE
            finer, self._counts = self._counts, Counter()
            for (pc, mode, in_region), count in finer.items():
                self._counts[pc & -PAGE, mode, in_region] += count
