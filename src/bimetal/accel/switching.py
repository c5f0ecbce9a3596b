"""Python's switch interval: how long a thread may keep the GIL while another waits for it. It is
shortened while machines translate."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["QUICK_SECONDS", "QuickSwitching"]

QUICK_SECONDS = 0.00005
"""Seconds. A vCPU that returns from native code must not wait the usual five milliseconds for
another thread that executes Python."""


class QuickSwitching:
    """Shortens the interpreter's switch interval, which holds for the whole process, from the first
    `begin` to the last `end`; then restores it, unless somebody else has set it meanwhile.
    """

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._wanted = 0
        self._before = self._ours = 0.0

    def begin(self) -> None:
        """Shorten the interval, if no other machine has."""
        with self._changing:
            self._wanted += 1
            if self._wanted == 1:
                self._before = sys.getswitchinterval()
                sys.setswitchinterval(min(self._before, QUICK_SECONDS))
                self._ours = sys.getswitchinterval()

    def end(self) -> None:
        """Undo one `begin`."""
        with self._changing:
            self._wanted -= 1
            if self._wanted == 0 and sys.getswitchinterval() == self._ours:
                sys.setswitchinterval(self._before)

    @contextmanager
    def wanted(self) -> Iterator[None]:
        """A context from a `begin` to its `end`."""
        self.begin()
        try:
            yield
        finally:
            self.end()


QUICK_SWITCHING = QuickSwitching()
"""The one for this process."""
