"""CPUs of an accelerator that run at the same time, each in a thread."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from bimetal.base.threads import EndingThread
from bimetal.seam import Cpu

__all__ = ["Progress", "side_by_side"]

AnyCpu = TypeVar("AnyCpu", bound=Cpu)


class Progress:
    """When CPUs last got on: a lost update can leave all of them waiting for ever. Nobody waits
    longer than ``limit`` seconds for that."""

    def __init__(self, limit: float = math.inf) -> None:
        self._limit, self._given_up = limit, False
        self.made()

    def made(self) -> None:
        """A CPU has got on."""
        self._last = time.monotonic()

    def give_up(self) -> None:
        """Have all end."""
        self._given_up = True

    @property
    def ended(self) -> bool:
        """Whether a CPU that is kicked shall not run on."""
        return self._given_up or time.monotonic() > self._last + self._limit


def side_by_side(
    cpus: Sequence[AnyCpu], run: Callable[[AnyCpu, Progress], None], progress: Progress
) -> None:
    """Let ``run`` run each CPU to its end, which comes for those that are kicked once the progress
    has ended. Whoever interrupts this leaves nobody in memory that is given back."""
    threads = [EndingThread(partial(run, cpu, progress), f"cpu{cpu.index}") for cpu in cpus]
    try:
        for thread in threads:
            thread.start()
        for thread, cpu in zip(threads, cpus, strict=True):
            while not thread.ended(1.0):
                if progress.ended:
                    cpu.kick()
    finally:
        progress.give_up()
        for thread, cpu in zip(threads, cpus, strict=True):
            while not thread.ended(0.1):
                cpu.kick()
