"""Signals before anything is open: they end the process, and that is all.

Imports as little as can be, to be called before everything else is imported: Python's handler for
SIGINT would answer with a traceback, in the middle of an import, and the first process of a
container hears of no signal for which it has no handler.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

__all__ = ["end_by_signals"]

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def end_by_signals() -> None:
    """Have signals end this process, unless they are ignored or somebody handles them."""
    first = os.getpid() == 1
    for number in ENDING if first else (signal.SIGINT,):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _end if first else signal.SIG_DFL)


def _end(number: int, frame: FrameType | None) -> None:
    """What the kernel does to others than the first process of a container."""
    os._exit(128 + number)
