"""A terminal that is ours while our job is in the foreground of its shell, and only then."""

from __future__ import annotations

from collections.abc import Callable

from bimetal.backends.chars.terminal import RawMode, in_foreground, read_foreground
from bimetal.backends.reactor import Reactor
from bimetal.base.clock import Timer

__all__ = ["Foreground"]

AGAIN_NS = 100_000_000
"""How often it is looked whether the terminal is ours, while that is uncertain."""

UNCERTAIN_NS = 2_000_000_000
"""For how long it is so after SIGCONT, as a shell hands its terminal over before or after, and once
the terminal is ours, as some shells set its modes when they have handed it over."""


class Foreground:
    """Keeps the terminal of ``raw`` in raw mode, and has it listened to, while it is ours."""

    def __init__(self, raw: RawMode, listen: Callable[[bool], None]):
        self._raw, self._listen = raw, listen
        self._reactor: Reactor | None = None
        self._again: Timer | None = None
        self._certain_at = 0
        self._ours = self._closed = False

    def enter(self) -> None:
        """See `RawMode.enter`."""
        self._raw.enter()

    def attach(self, reactor: Reactor) -> None:
        """Look after the terminal, which may become ours later, with the help of ``reactor``."""
        self._reactor = reactor
        self._again = reactor.clock.timer(self.look)
        self.look()

    def look(self) -> None:
        """Take the terminal if it is ours, or leave it alone; look again while that may change."""
        if self._reactor is None or self._again is None or self._closed:
            return
        ours, now = self._raw.update(), self._reactor.clock.now_ns()
        self._listen(ours)
        if ours and not self._ours:
            self._certain_at = now + UNCERTAIN_NS
        self._ours = ours
        if not ours or now < self._certain_at:
            self._again.arm(now + AGAIN_NS)

    def go_on(self) -> None:
        """The process was stopped and goes on."""
        if self._reactor is not None and not self._closed:
            self._certain_at = self._reactor.clock.now_ns() + UNCERTAIN_NS
            self.look()

    def read(self, fd: int, count: int) -> bytes:
        """Read what is typed; BlockingIOError if nothing is, or not for us."""
        try:
            return read_foreground(fd, count)
        except BlockingIOError:
            if not in_foreground(fd):
                self.look()
            raise

    def close(self) -> None:
        """Give the terminal back. Idempotent."""
        self._closed = True
        if self._again is not None:
            self._again.cancel()
        self._raw.leave()
