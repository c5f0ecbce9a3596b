"""The size of a terminal, as it changes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

from bimetal.backends.reactor import Reactor

__all__ = ["TerminalSize", "size_of"]

Size = tuple[int, int]
"""Columns and rows; 0 and 0 if the terminal does not know."""


def size_of(fd: int) -> Size | None:
    """The size of the terminal ``fd``; None if it is not a terminal."""
    try:
        size = os.get_terminal_size(fd)
    except OSError:
        return None
    return size.columns, size.lines


class TerminalSize:
    """Has ``tell`` called with each new size of the terminal ``fd``.

    SIGWINCH tells of one, but not to a job in the background, and not if it is attached in another
    thread than the main one: whoever comes back to the terminal calls `look`.
    """

    def __init__(self, fd: int, tell: Callable[[int, int], None]):
        self._fd, self._tell = fd, tell
        self._last = size_of(fd)
        self._reactor: Reactor | None = None
        self._before: Any = None

    def attach(self, reactor: Reactor) -> None:
        """Begin. ``tell`` is called by ``reactor``."""
        self._reactor = reactor
        with suppress(ValueError):  # not the main thread
            self._before = signal.signal(signal.SIGWINCH, self._changed)
        reactor.call(self.look)

    def look(self) -> None:
        """Tell if the size is another than before."""
        size = size_of(self._fd)
        if size is not None and size != self._last:
            self._last = size
            self._tell(*size)

    def close(self) -> None:
        """Listen to no more signals. Idempotent."""
        if getattr(signal.getsignal(signal.SIGWINCH), "__self__", None) is self:
            with suppress(ValueError):
                signal.signal(signal.SIGWINCH, self._before)

    def _changed(self, number: int, frame: FrameType | None) -> None:
        if self._reactor is not None:
            self._reactor.call(self.look)
        if callable(self._before):
            self._before(number, frame)
