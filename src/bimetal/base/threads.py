"""Threads whose end can be waited for, whatever interrupts the wait."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["EndingThread"]


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
