"""How long a thread may keep Python's lock while another waits: less, while machines translate."""

from __future__ import annotations

import sys
import threading

__all__ = ["QUICK_SECONDS", "QuickSwitching"]

QUICK_SECONDS = 0.0002
"""A vCPU that comes back from native code must not wait the usual five milliseconds for a thread
that does something else in Python."""


class QuickSwitching:
    """The interpreter's switch interval, which is the whole process's: short from the first
    `begin` to the last `end`, and then again what it was, unless somebody else has set it since.
    """

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._wanted = 0
        self._before = self._ours = 0.0

    def begin(self) -> None:
        """Make it short."""
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


QUICK_SWITCHING = QuickSwitching()
"""That of this process."""
