"""The end of a machine: its run, its threads, and what they used."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from threading import Lock
from typing import Protocol

from bimetal.base.clock import Countdown
from bimetal.base.log import logger
from bimetal.machine.assembly import Assembly
from bimetal.machine.console import Console
from bimetal.machine.expect import TimedOut
from bimetal.machine.service import Service

__all__ = ["Closing", "Onlooker"]

END_SECONDS = 5.0
"""Seconds that ending a machine waits for its threads, which need milliseconds."""

STUCK = "the host holds one of its threads, perhaps in a file that it cannot read or write"


class Onlooker(Protocol):
    """Who looks at a machine's memory in a thread of its own."""

    def end(self, seconds: float) -> bool:
        """End the thread; False if there was not enough time."""

    def forked(self) -> None:
        """This process is a copy, in which there is no such thread."""


class Closing:
    """Ends the run of a machine, and gives back its ``parts``, ``service`` and ``consoles``."""

    def __init__(self, parts: Assembly, service: Service, consoles: Iterable[Console]):
        self._parts, self._service, self._consoles = parts, service, consoles
        self.viewers: list[Onlooker] = []
        """Who looks at the machine's memory in threads of their own."""
        self._busy, self._done = Lock(), False

    def stop(self) -> None:
        """See `Machine.stop`."""
        if not self._parts.end(Countdown(END_SECONDS)):
            raise TimedOut("the machine cannot be stopped", STUCK)

    def close(self) -> None:
        """See `Machine.close`."""
        if not self._done and self._busy.acquire(blocking=False):
            try:
                self._close()
            finally:
                self._busy.release()

    def _close(self) -> None:
        self._parts.closed = True
        countdown = Countdown(END_SECONDS)
        looked = all(each.end(countdown.left) for each in self.viewers)
        ended = looked and self._parts.end(countdown) and self._service.stop(countdown.left)
        self._done = True
        with ExitStack() as last_first:
            if ended:
                last_first.callback(self._service.close)
                if self._parts.hardware is not None:
                    last_first.callback(self._parts.hardware.close)
                if self._parts.runner is not None:
                    last_first.callback(self._parts.runner.close)
            else:
                logger("machine").error("the machine cannot be stopped: %s", STUCK)
            # Terminals before disks, so that a person can interrupt what takes long.
            for console in self._consoles:
                last_first.callback(console.close)
