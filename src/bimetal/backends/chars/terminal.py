"""The terminal's raw mode: on while the terminal is ours, off on every way out of the program.

A terminal belongs to one job of its shell at a time. A program that another job has sent into the
background must leave it alone: whoever sets modes there is stopped (SIGTTOU), whoever reads too
(SIGTTIN), and it is the shell's keys that would be read. So raw mode is entered when we are in the
foreground, which may be later than our start, and anew each time we come back. Nobody tells that:
SIGCONT comes before or after the terminal is ours again, or, after ``bg``, not at all. `RawMode.
update` looks, and whoever owns it lets it look again as long as it is not certain.

The ways out are: `RawMode.leave`, the end of the interpreter (see `base.lasting`), a stop
(SIGTSTP), and, unless the program handles them itself, the signals that end a process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import termios
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.lasting import lasts, undo_all, undone

__all__ = ["RawMode", "raw_attributes", "read_foreground"]

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


def read_foreground(fd: int, count: int) -> bytes:
    """Read from a terminal that does not block, without being stopped if it is not ours.

    BlockingIOError if there is nothing, or nothing for us; b"" if the terminal has hung up.
    """
    try:
        with _blocked(signal.SIGTTIN):
            return os.read(fd, count)
    except BlockingIOError:
        raise
    except OSError:
        if in_foreground(fd):
            return b""
        raise BlockingIOError from None


def in_foreground(fd: int) -> bool:
    """Whether the terminal ``fd`` is ours, or at least nobody else's."""
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        return True  # not the terminal that controls us: nobody would stop us


_taken: set[int] = set()
"""The terminals in raw mode, by their device numbers."""


def _take(fd: int) -> int:
    """Have a terminal for ourselves; its device number.

    Raises `BimetalError` if it is the console of another machine: each would get some of the keys.
    """
    number = os.fstat(fd).st_rdev
    if number in _taken:
        raise BimetalError(
            "the terminal is another console already",
            "close that machine first, or give one of the consoles another place, like 'pty'",
            ExitCode.USAGE,
        )
    _taken.add(number)
    return number


class RawMode:
    """Raw mode of the terminal ``fd``; a context manager. A terminal has one at a time.

    Entered in the main thread it also looks after signals. Python lets no other thread do so;
    there the program must handle them itself. ``on_stop`` is called before the process stops,
    ``on_continue`` when it goes on; both in the main thread, at any moment.
    """

    def __init__(
        self,
        fd: int,
        on_stop: Callable[[], None] | None = None,
        on_continue: Callable[[], None] | None = None,
    ):
        self._fd, self._heard_stop, self._heard_continue = fd, on_stop, on_continue
        self._saved: list[Any] | None = None
        self._entered = self._stopping = False
        self._terminal = 0
        self._handlers: dict[signal.Signals, _Handler] = {}

    def __enter__(self) -> RawMode:
        self.enter()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def enter(self) -> None:
        """Switch to raw mode, now if the terminal is ours, or else in an `update`. Idempotent.

        Raises `BimetalError` if it is in use in this process.
        """
        if self._entered:
            return
        self._terminal = _take(self._fd)
        self._entered = True
        lasts(self.leave)
        with contextlib.suppress(ValueError):  # not in the main thread
            for number in ENDING:
                if signal.getsignal(number) is signal.SIG_DFL:
                    self._handle(number, self._on_ending)
            self._handle(signal.SIGTSTP, self._on_stop)
            self._handle(signal.SIGCONT, self._on_continue)
        self.update()

    def update(self) -> bool:
        """See that the terminal is in raw mode if it is ours; whether it is ours."""
        if not (self._wanted() and in_foreground(self._fd)):
            return False
        with contextlib.suppress(termios.error):  # a terminal that has hung up
            now = termios.tcgetattr(self._fd)
            raw = raw_attributes(now)
            if now != raw:
                self._saved = now
                termios.tcsetattr(self._fd, termios.TCSANOW, raw)
        if not self._wanted():  # any more: the main thread was quicker
            self._restore()
        return True

    def leave(self) -> None:
        """Restore the terminal and the signal handlers. Idempotent."""
        if not self._entered:
            return
        self._entered = False
        self._restore()
        _taken.discard(self._terminal)
        undone(self.leave)
        for number, handler in self._handlers.items():
            if getattr(signal.getsignal(number), "__self__", None) is self:
                with contextlib.suppress(ValueError):
                    signal.signal(number, handler)
        self._handlers.clear()

    def _wanted(self) -> bool:
        return self._entered and not self._stopping

    def _restore(self) -> None:
        """What the terminal was before, unless it is somebody else's by now."""
        if self._saved is not None and in_foreground(self._fd):
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._fd, termios.TCSANOW, self._saved)

    def _handle(
        self, number: signal.Signals, handler: Callable[[int, FrameType | None], None]
    ) -> None:
        previous = signal.getsignal(number)
        if previous is not signal.SIG_IGN:  # nohup, or a parent that wants it so
            signal.signal(number, handler)
            self._handlers[number] = previous

    def _on_ending(self, number: int, frame: FrameType | None) -> None:
        undo_all()  # what is on the screen, too
        self.leave()
        signal.raise_signal(number)

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        if self._heard_stop is not None:
            self._heard_stop()
        self._restore()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)  # stops here until SIGCONT
        signal.signal(number, self._on_stop)
        self._go_on()

    def _on_continue(self, number: int, frame: FrameType | None) -> None:
        previous = self._handlers.get(signal.Signals(number))
        self._go_on()
        if callable(previous):
            previous(number, frame)

    def _go_on(self) -> None:
        self._stopping = False
        self.update()
        if self._heard_continue is not None:
            self._heard_continue()


@contextlib.contextmanager
def _blocked(number: signal.Signals) -> Iterator[None]:
    """Keep a signal from this thread."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
