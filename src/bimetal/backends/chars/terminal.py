"""The terminal's raw mode, and how it is left on every way out of the program.

The ways out are: `RawMode.leave`, the end of the interpreter (also through an exception), the
signals that end a process (SIGTERM, SIGHUP, SIGQUIT) and those that stop it (SIGTSTP); after a
stop, SIGCONT enters raw mode again. Only SIGKILL and a crash of the process find no time.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import termios
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["RawMode", "raw_attributes"]

_Handler = Callable[[int, FrameType | None], Any] | int | signal.Handlers | None

ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

IFLAG, OFLAG, CFLAG, LFLAG, CC = 0, 1, 2, 3, 6
"""Places in the list of `termios.tcgetattr`."""


def raw_attributes(attributes: list[Any]) -> list[Any]:
    """``attributes`` of `termios.tcgetattr`, changed so that every key goes to the guest at once.

    As cfmakeraw(3), but the terminal still turns line feeds of our own messages into new lines.
    """
    raw = list(attributes)
    raw[IFLAG] &= ~(
        termios.IGNBRK
        | termios.BRKINT
        | termios.PARMRK
        | termios.ISTRIP
        | termios.INLCR
        | termios.IGNCR
        | termios.ICRNL
        | termios.IXON
    )
    raw[OFLAG] |= termios.OPOST | termios.ONLCR
    raw[CFLAG] = raw[CFLAG] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    raw[LFLAG] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    raw[CC] = list(raw[CC])
    raw[CC][termios.VMIN], raw[CC][termios.VTIME] = 1, 0
    return raw


class RawMode:
    """Raw mode of the terminal ``fd``; a context manager.

    Entered in the main thread it also looks after signals, handing each on to whoever handled it
    before. Python lets no other thread do so; there the program must handle them itself.
    """

    def __init__(self, fd: int):
        self._fd = fd
        self._saved: list[Any] | None = None
        self._handlers: dict[signal.Signals, _Handler] = {}

    def __enter__(self) -> RawMode:
        self.enter()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def enter(self) -> None:
        """Switch to raw mode. Idempotent."""
        if self._saved is not None:
            return
        self._saved = termios.tcgetattr(self._fd)
        atexit.register(self.leave)
        with contextlib.suppress(ValueError):  # not in the main thread
            for number in ENDING:
                self._handle(number, self._on_ending)
            self._handle(signal.SIGTSTP, self._on_stop)
            self._handle(signal.SIGCONT, self._on_continue)
        self._set(raw_attributes(self._saved))

    def leave(self) -> None:
        """Restore the terminal and the signal handlers. Idempotent."""
        if self._saved is None:
            return
        saved, self._saved = self._saved, None
        self._set(saved)
        atexit.unregister(self.leave)
        for number, handler in self._handlers.items():
            if self._is_ours(signal.getsignal(number)):
                with contextlib.suppress(ValueError):
                    signal.signal(number, handler)
        self._handlers.clear()

    def _handle(
        self, number: signal.Signals, handler: Callable[[int, FrameType | None], None]
    ) -> None:
        previous = signal.getsignal(number)
        if previous is not signal.SIG_IGN:  # nohup, or a parent that wants it so
            signal.signal(number, handler)
            self._handlers[number] = previous

    def _is_ours(self, handler: _Handler) -> bool:
        return getattr(handler, "__self__", None) is self

    def _set(self, attributes: list[Any]) -> None:
        # A background process that touches its terminal would be stopped; its terminal is the
        # shell's just now anyway. And a terminal that has hung up needs no restoring.
        if self._in_foreground():
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._fd, termios.TCSANOW, attributes)

    def _in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:
            return True  # not the terminal that controls us: nobody would stop us

    def _on_ending(self, number: int, frame: FrameType | None) -> None:
        previous = self._handlers.get(signal.Signals(number))
        self.leave()
        if callable(previous):
            previous(number, frame)
        else:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        saved = self._saved
        if saved is None:
            return
        self._set(saved)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # stops here until SIGCONT
        signal.signal(number, self._on_stop)
        self._set(raw_attributes(saved))

    def _on_continue(self, number: int, frame: FrameType | None) -> None:
        previous = self._handlers.get(signal.Signals(number))
        if self._saved is not None:
            self._set(raw_attributes(self._saved))
        if callable(previous):
            previous(number, frame)
