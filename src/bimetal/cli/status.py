"""A line on the terminal that says what takes long; it is gone before anybody else writes there."""

from __future__ import annotations

import os
import threading
from contextlib import suppress

__all__ = ["STATUS", "StatusLine"]

ERROR = 2
BEGIN, CLEAR = "\r", "\x1b[K"
FLAGS = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
DUMB = ("", "dumb", "unknown")


class StatusLine:
    """The status line of the terminal ``fd``; without one, nothing is ever shown.

    It may be used from any thread, and waits for nobody: what the terminal does not take at once,
    since a person has stopped it perhaps, is not shown.
    """

    def __init__(self, fd: int = ERROR):
        self._fd = fd
        self._shown = False
        self._lock = threading.Lock()

    @property
    def possible(self) -> bool:
        """Whether there is a terminal, and it is one that can take a line back."""
        return os.isatty(self._fd) and os.environ.get("TERM", "") not in DUMB

    def show(self, text: str) -> None:
        """Show ``text`` in place of what was shown before, unless the terminal is another job's."""
        if self.possible and self._in_foreground():
            with self._lock:
                columns = os.get_terminal_size(self._fd).columns or 80
                self._shown |= self._write(BEGIN + text[: columns - 1] + CLEAR)

    def erase(self) -> None:
        """Show nothing any more. Idempotent."""
        if self._shown:
            with self._lock:
                if self._shown:
                    self._write(BEGIN + CLEAR)
                    self._shown = False

    def _write(self, text: str) -> bool:
        with suppress(OSError):  # which includes that it would have to wait
            # O_NONBLOCK on the descriptor itself would be shared with who gave it to us.
            own = os.open(f"/proc/self/fd/{self._fd}", FLAGS)
            try:
                os.write(own, text.encode())
            finally:
                os.close(own)
            return True
        return False

    def _in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:
            return True  # not the terminal that controls us


STATUS = StatusLine()
"""That of standard error."""
