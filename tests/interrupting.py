"""An exception out of a signal handler, as Ctrl-C is one, in the middle of a test."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Interrupted", "interrupt_soon", "interrupted"]

SOON = 0.05


class Interrupted(Exception):
    """What the handler raises."""


def _raise(number: int, frame: FrameType | None) -> None:
    raise Interrupted


def interrupt_soon() -> None:
    """Interrupt the block; callable from any thread."""
    signal.setitimer(signal.ITIMER_REAL, SOON)


@contextmanager
def interrupted(*, later: bool = False) -> Iterator[None]:
    """The block has to wait, or to work on, until it is interrupted: soon, or, if that is for
    ``later``, once `interrupt_soon` is called."""
    before = signal.signal(signal.SIGALRM, _raise)
    try:
        if not later:
            interrupt_soon()
        yield
    except Interrupted:
        return
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    raise AssertionError("the block came to its end")
