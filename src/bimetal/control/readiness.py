"""The code by which a machine is kept, moved and looked after, in memory soon after its start.

Bimetal may be upgraded, or removed, while the machine runs. What is imported then is of another
version than what runs, if it is there at all, and that may be the moment at which somebody wants to
save the machine.
"""

from __future__ import annotations

import threading
from importlib import import_module

from bimetal.base.closes import Closes
from bimetal.base.log import logger
from bimetal.base.threads import EndingThread
from bimetal.machine.rare import RARE_PARTS

__all__ = ["LATER", "Readiness"]

LATER = (
    "bimetal.accel.fallback",
    "bimetal.codegen.background",
    "bimetal.control.commands",
    "bimetal.control.person",
    "bimetal.machine.core_file",
    "bimetal.machine.explaining",
    "bimetal.machine.failures",
    "bimetal.machine.inner",
    "bimetal.machine.live.creation",
    "bimetal.machine.live.keeping",
    "bimetal.machine.observing",
    *(part.__module__ for part in RARE_PARTS),
)
"""Modules that most machines never need, which is why they do not wait for them at their start."""

_log = logger("readiness")

AFTER, BETWEEN = 5.0, 0.1
"""Seconds after which most guests have something else to do than to boot, and between modules, as
vCPUs want the interpreter's lock meanwhile."""


class Readiness(Closes):
    """Imports the modules of `LATER`, in a thread of its own: so many seconds ``after`` it was
    made, and ``between`` them."""

    def __init__(self, after: float = AFTER, between: float = BETWEEN):
        self._after, self._between, self._closed = after, between, threading.Event()
        self._thread = EndingThread(self._import, "readiness")
        self._thread.start()

    def wait(self) -> None:
        """Return when all are there."""
        self._thread.ended()

    def close(self) -> None:
        """Import no more. Idempotent."""
        self._closed.set()
        self._thread.ended()

    def _import(self) -> None:
        pause = self._after
        for module in LATER:
            if self._closed.wait(pause):
                return
            try:
                import_module(module)
            except Exception as error:  # an upgrade is under way: others may be there
                _log.error("%s cannot be imported, nor what needs it be done: %r", module, error)
            pause = self._between
