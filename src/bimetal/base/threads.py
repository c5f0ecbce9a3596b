"""Threads whose end can be waited for, whatever interrupts the wait; work for several at once."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import TypeVar

__all__ = ["Beside", "EndingThread", "Lock", "share_out"]

Piece = TypeVar("Piece")

Lock = threading.Lock
"""For what several threads may do, and one at a time."""


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


class Beside:
    """``work`` that is done at once by a thread of its own: worth it for what needs no lock of the
    interpreter's."""

    def __init__(self, work: Callable[[], None]):
        self._work = work
        self._failure: BaseException | None = None
        self._thread = EndingThread(self._do, "helper")
        self._thread.start()

    def wait(self) -> None:
        """Return when it is done, however it went."""
        self._thread.ended()

    def result(self) -> None:
        """Return when it is done. Raises what it raised."""
        self.wait()
        if self._failure is not None:
            raise self._failure

    def _do(self) -> None:
        try:
            self._work()
        except BaseException as failure:
            self._failure = failure


def share_out(pieces: Iterable[Piece], work: Callable[[Iterable[Piece]], None]) -> None:
    """Have ``work`` called at once by a thread for each processor, with pieces that each takes when
    it comes to them: one whose processor is busy with something else does fewer. Return when all
    are done. It is worth it for work that needs no lock of the interpreter's. Raises what one of
    them raises; then the others begin no more pieces."""
    left = deque(pieces)
    count = max(1, min(len(os.sched_getaffinity(0)), len(left)))
    mine = partial(_do_of, left, work)
    others = list[Beside]()
    try:
        with suppress(RuntimeError):  # the host has no more threads: those that there are do it all
            while len(others) < count - 1:
                others.append(Beside(mine))
        mine()
    finally:
        for other in others:
            other.wait()
    for other in others:
        other.result()


def _do_of(left: deque[Piece], work: Callable[[Iterable[Piece]], None]) -> None:
    try:
        work(_taken(left))
    except BaseException:
        left.clear()
        raise


def _taken(left: deque[Piece]) -> Iterator[Piece]:
    """Piece by piece what is left, of which others take too."""
    while True:
        try:
            piece = left.popleft()
        except IndexError:
            return
        yield piece
