"""How the process ends: in order, and in bounded time, whatever ends it.

The first signal that asks for the end raises `Signalled` in the main thread, so every ``with`` and
``finally`` on its way out gives back what it holds, as at an end without a signal. That way is
limited in time, and a second signal ends the process at once: a thread that the C part of Python's
signal handling wakes sees to both, since the main thread may be deep in something that takes long.

Handlers are installed for signals that are not ignored (nohup, or a shell that wants it so). The
first process of a container has no default actions: it gets these.

An exception in the middle of Python's import system may leave its lock held, and whichever thread
imports next waits for ever. So a signal that comes there is raised a little later. One that is
lost on its way is raised again: Python ignores exceptions in destructors and callbacks, and where C
asks for an attribute. Others come out as something else: up to Python 3.11, what ends a class
statement while descriptors learn their names is a RuntimeError. So whatever arrives after a signal,
the signal is why the process ends.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self, TypeVar

from bimetal import ExitCode

__all__ = ["Ending", "Signalled", "is_of_signal"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

PATIENCE = 30.0
"""Seconds allowed for ending without a second signal, as when a slow host has to write disks."""

HURRY = 8.0
"""Seconds after a signal: those who send SIGTERM often send SIGKILL ten seconds later."""

ONE_REQUEST = 0.25
"""Seconds within which two signals are one request: timeout(1) sends two, a shell that loses its
terminal too."""

IMPORTING = "<frozen importlib._bootstrap>"
"""Where the code of Python's import system comes from."""

SOON = 0.01
"""Seconds after which a signal that came in there is tried again."""

Owned = TypeVar("Owned", bound=AbstractContextManager[Any])


class Signalled(BaseException):
    """The signal ``number`` asks for the end; ``gone`` is called when nobody holds this any more,
    as it is or as the cause of something else."""

    def __init__(self, number: int, gone: Callable[[], object]):
        super().__init__(number)
        self.number = number
        self._gone = gone

    def __del__(self) -> None:
        self._gone()


def is_of_signal(error: BaseException) -> bool:
    """Whether an error is what a signal has raised, or comes from it."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, Signalled):
        found = found.__cause__
    return found is not None


class Ending:
    """The end of this process; a context manager around all that the process does.

    ``signal`` is the number of the signal that asked for the end, 0 if none did.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._abandon: Callable[[], None] | None = None
        self._begun = self._holding = self._raised = False
        self._timing = threading.Lock()
        self._limit: threading.Timer | None = None
        self._handlers: dict[int, Any] = {}
        self._echoes = 0
        self._main = threading.get_ident()
        self._unraisable = sys.unraisablehook
        self._ears = self._wire = self._old_wire = -1

    def __enter__(self) -> Self:
        handled = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        with suppress(ValueError):  # not the main thread, which is a program's own affair
            for number in handled:
                self._handlers[number] = signal.signal(number, self._asked)
            self._ears, self._wire = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(self._wire, False)
            self._old_wire = signal.set_wakeup_fd(self._wire, warn_on_full_buffer=False)
            self._unraisable, sys.unraisablehook = sys.unraisablehook, self._ignored
            threading.Thread(target=self._listen, name="ending", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._begun = True
        if self._limit is not None and not self.signal:  # else for Python's own end too
            self._limit.cancel()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self._handlers:
            sys.unraisablehook = self._unraisable
            signal.set_wakeup_fd(self._old_wire)
            os.close(self._wire)  # which ends the thread

    @contextmanager
    def of(self, make: Callable[[], Owned], abandon: Callable[[], None]) -> Iterator[Owned]:
        """What ``make`` returns, entered: no signal comes between its making and its entering, and
        none breaks into its end, which begins when this is left. ``abandon`` is called, in any
        thread, if the process has to end without it."""
        self._abandon = abandon
        with ExitStack() as stack:
            with self.held():
                owned = stack.enter_context(make())
            try:
                yield owned
            finally:
                self.begin()

    @contextmanager
    def held(self) -> Iterator[None]:
        """For something that no signal shall break into, since it is short: it is raised after."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        self._raise()

    def begin(self) -> None:
        """What is left to do is the end: a signal hurries it now, and breaks into nothing."""
        self._begun = True
        self._limit_to(PATIENCE)

    def die(self) -> None:
        """End as the signal that asked for it would have ended us, if there was one; the first
        process of a container cannot, and comes back."""
        if self.signal:
            signal.signal(self.signal, signal.SIG_DFL)
            signal.raise_signal(self.signal)

    def _asked(self, number: int, frame: FrameType | None) -> None:
        """A signal, in the main thread."""
        if self._begun or self.signal not in (0, number):
            return
        self.signal = number
        if self._holding:
            return
        if frame is not None and frame.f_code.co_filename == IMPORTING:
            _later(SOON, self._again)
            return
        self._raise()

    def _raise(self) -> None:
        """Raise what asks for the end, if it was asked for and is not on its way."""
        if self.signal and not self._begun and not self._raised:
            self._raised = True
            raise Signalled(self.signal, self._lost)

    def _lost(self) -> None:
        """What was raised is gone, unless it has led to the end."""
        self._raised = False
        if not self._begun:
            _later(SOON, self._again)

    def _ignored(self, what: Any) -> None:
        """See `sys.unraisablehook`."""
        if what.exc_type is not Signalled:
            self._unraisable(what)

    def _again(self) -> None:
        """The signal once more, unless the end has begun meanwhile."""
        if self._begun or self._raised:
            return
        self._echoes += 1
        signal.pthread_kill(self._main, self.signal)

    def _listen(self) -> None:
        """All signals, in a thread of their own: the time that the end may take counts from here,
        though the main thread has not heard of it yet."""
        patience = threading.Event()
        for number in iter(partial(os.read, self._ears, 1), b""):
            if number[0] not in self._handlers:
                continue
            if self._echoes:
                self._echoes -= 1
                continue
            if patience.is_set():
                self._at_once(128 + number[0])
            self._limit_to(HURRY)
            _later(ONE_REQUEST, patience.set)
        os.close(self._ears)

    def _limit_to(self, seconds: float) -> None:
        """End at once in so many seconds, or when it was said before if that is earlier."""
        with self._timing:
            if self._limit is not None and self._limit.interval <= seconds:
                return
            if self._limit is not None:
                self._limit.cancel()
            self._limit = _later(seconds, self._give_up)

    def _give_up(self) -> None:
        with suppress(OSError):
            os.write(2, b"bimetal: the end took too long: what was still open is left as it is\n")
        self._at_once(128 + self.signal if self.signal else ExitCode.IO_ERROR)

    def _at_once(self, code: int) -> NoReturn:
        if self._abandon is not None:
            self._abandon()
        os._exit(code)


def _later(seconds: float, what: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(seconds, what)
    timer.daemon = True
    timer.start()
    return timer
