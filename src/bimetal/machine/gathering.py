"""What a machine works in, moved into huge pages of the host once it has run for a while.

A copy of the process (fork(2)) then takes half the time: the host copies one entry for a huge page
instead of 512. Not from the beginning, because a boot would take longer; see docs/engine.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bimetal.base.clock import Clock
from bimetal.base.threads import EndingThread
from bimetal.memory.huge import gather

__all__ = ["Gathering"]

AFTER_NS = 3_000_000_000
"""Most boots are over then."""


class Gathering:
    """Does that with the ``areas`` of memory (addresses and sizes) that there are by then, in a
    thread of its own, which begins by an alarm of ``clock``, the host's time. Make it with the
    clock's lock held. An `Onlooker` of the machine."""

    def __init__(self, areas: Callable[[], Iterable[tuple[int, int]]], clock: Clock):
        self._areas: Callable[[], Iterable[tuple[int, int]]] | None = areas
        self._thread: EndingThread | None = None
        clock.timer(self._begin).arm(clock.now_ns() + AFTER_NS)

    def end(self, seconds: float) -> bool:
        """See `Onlooker.end`."""
        self._areas = None
        return self._thread is None or self._thread.ended(seconds)

    def forked(self) -> None:
        """See `Onlooker.forked`."""

    def _begin(self) -> None:
        self._thread = EndingThread(self._main, "gathering")
        self._thread.start()

    def _main(self) -> None:
        for address, size in self._areas() if self._areas else ():
            for _ in gather(address, size):
                if self._areas is None:
                    return
