"""Threads whose end can be waited for, whatever interrupts the wait; work for several at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

__all__ = ["EndingThread", "share_out"]

Piece = TypeVar("Piece")


class EndingThread(threading.Thread):
    """A daemon thread that calls ``work``.

    When Ctrl-C, or another exception of a signal handler, interrupts `join`, Python before 3.13
    takes a running thread for one that has ended (CPython's issue 90882), from then on. Whoever
    gives back what a thread uses has to ask `ended`, which is right in any case.
    """

    def __init__(self, work: Callable[[], None], name: str):
        super().__init__(target=work, name=name, daemon=True)
        self._over = threading.Event()

    def run(self) -> None:
        """See `threading.Thread.run`."""
        try:
            super().run()
        finally:
            self._over.set()

    def ended(self, seconds: float | None = None) -> bool:
        """Wait for the end of the thread, at most for ``seconds``; False if it has not come by
        then. One that was never started has nothing to end."""
        return self.ident is None or self._over.wait(seconds)


def share_out(pieces: Sequence[Piece], work: Callable[[Sequence[Piece]], None]) -> None:
    """Have ``work`` called with parts of ``pieces``, one for each processor, all at once; return
    when all are done. It is worth it for work that needs no lock of the interpreter's. Raises what
    one of them raises."""
    failures = list[BaseException]()

    def guarded(part: Sequence[Piece]) -> None:
        try:
            work(part)
        except BaseException as failure:
            failures.append(failure)

    count = max(1, min(len(os.sched_getaffinity(0)), len(pieces)))
    parts = [pieces[number::count] for number in range(count)]
    others = [EndingThread(partial(guarded, part), "helper") for part in parts[1:]]
    for other in others:
        other.start()
    guarded(parts[0])
    for other in others:
        other.ended()
    if failures:
        raise failures[0]
