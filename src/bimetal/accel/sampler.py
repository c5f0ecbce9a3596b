"""Profiling: the samples that vCPUs take at polls, read without stopping them.

A vCPU writes each sample into a ring in its state, see `codegen.polling`.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from ..base.threads import EndingThread
from ..codegen.layout import PAGE, SAMPLE_WORDS, SAMPLES
from ..isa.contract import Architecture
from ..seam import Place, Samples
from .ring import RingReader
from .vcpu_state import VcpuState

__all__ = ["SampleReader", "Sampler"]

INTERVAL = 0.01
"""Seconds between looks at the rings, a tenth of the time in which the fastest vCPU fills one."""

PLACES = 1 << 18
"""The most places counted separately. A guest can make any number of them; beyond this limit they
are summed by page."""

Key = tuple[int, int, int]
"""A sample: program counter, mode, and 1 if in a region."""


class SampleReader(RingReader):
    """A reader of a vCPU's samples."""

    def __init__(self, state: VcpuState, seen: int = 0):
        super().__init__(state, "sample", "sample_count", SAMPLES, SAMPLE_WORDS, seen)


class SampledVcpu(Protocol):
    """A vCPU, as far as it is sampled."""

    state: VcpuState

    @property
    def sampled(self) -> int:
        """How many samples it has taken since it was created."""


class Sampler:
    """Counts the samples of ``vcpus`` in a thread of its own, until it is closed.

    vCPUs may be added to the sequence meanwhile.
    """

    def __init__(self, vcpus: Sequence[SampledVcpu], architecture: Architecture):
        self._vcpus, self._architecture = vcpus, architecture
        self._readers = [SampleReader(vcpu.state, vcpu.sampled) for vcpu in vcpus]
        self._counts: Counter[Key] = Counter()
        self._grain = 1
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = EndingThread(self._run, "bimetal-sampler")
        self._thread.start()

    def samples(self) -> Samples:
        """All samples up to now."""
        with self._lock:
            self._look()
            counts = {self._place(*key): count for key, count in self._counts.items()}
            return Samples(counts, sum(reader.lost for reader in self._readers))

    def _place(self, pc: int, number: int, in_region: int) -> Place:
        mode = self._architecture.modes.get(number, f"mode {number}")
        return Place(pc, mode, bool(in_region), mode == self._architecture.user)

    def close(self) -> None:
        """Take the last samples and end the thread; `samples` still answers. Idempotent."""
        self._stop.set()
        self._thread.ended()
        with self._lock:
            self._look()

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL):
            with self._lock:
                self._look()

    def _look(self) -> None:
        for vcpu in self._vcpus[len(self._readers) :]:
            self._readers.append(SampleReader(vcpu.state))
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
