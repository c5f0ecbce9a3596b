"""An exception out of a signal handler, as Ctrl-C is one, in the middle of a test."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Interrupted", "interrupted"]

SOON = 0.05


class Interrupted(Exception):
    """What the handler raises."""


def _raise(number: int, frame: FrameType | None) -> None:
    raise Interrupted


@contextmanager
def interrupted() -> Iterator[None]:
    """The block has to wait, or to work on, until it is interrupted."""
    before = signal.signal(signal.SIGALRM, _raise)
    try:
        signal.setitimer(signal.ITIMER_REAL, SOON)
        yield
    except Interrupted:
        return
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    raise AssertionError("the block came to its end")
