"""Input from a pipe or a file, for a guest that takes its console for a terminal."""

from __future__ import annotations

import os
from collections.abc import Callable

from bimetal.backends.chars.inbox import Inbox
from bimetal.backends.reactor import Reactor
from bimetal.base.clock import Timer

__all__ = ["PipedInput"]

AGAIN_NS = 1_000_000_000
"""How often `PipedInput.at_end` is typed."""


class PipedInput:
    """What a person would do who types the contents of a pipe into ``inbox``.

    ``after`` is what the guest shows before there is use in typing, ``at_end`` what is typed when
    there is no more. Whoever reads that end is not the last who reads, so it is typed again from
    time to time. Without either, input is passed on as it comes and that is all.
    """

    def __init__(self, inbox: Inbox, listen: Callable[[bool], None]):
        self.after = self.at_end = b""
        self._inbox, self._listen = inbox, listen
        self._shown = b""
        self._in_line = self._ended = False
        self._again: Timer | None = None
        self._now: Callable[[], int] | None = None

    def attach(self, reactor: Reactor, closed: bool) -> None:
        """Begin, or wait for `after`; ``closed`` if there is no input at all."""
        self._again, self._now = reactor.clock.timer(self._type_again), reactor.clock.now_ns
        self._ended = closed
        if self.after:
            self._listen(False)
        else:
            self._begin()

    def show(self, data: bytes) -> None:
        """The guest has output."""
        if self.after:
            self._shown = (self._shown + data)[-len(data) - len(self.after) :]
            if self.after in self._shown:
                self.after = self._shown = b""
                self._begin()

    def read(self, fd: int, count: int) -> bytes:
        """Read some input."""
        data = os.read(fd, count)
        if data:
            self._in_line = not data.endswith(b"\n")
        return data

    def end(self) -> None:
        """There is no more input.

        A terminal takes Ctrl-D for the end of input at the beginning of a line; within a line, for
        the end of what was typed so far (termios(3), VEOF).
        """
        self._ended = True
        self._inbox.put(self.at_end * (2 if self._in_line else 1))
        self._wait()

    def close(self) -> None:
        """Type nothing any more. Idempotent."""
        if self._again is not None:
            self._again.cancel()

    def _begin(self) -> None:
        if self._ended:
            self.end()
        else:
            self._listen(True)

    def _type_again(self) -> None:
        if self._inbox.is_empty:
            self._inbox.put(self.at_end)
        self._wait()

    def _wait(self) -> None:
        if self.at_end and self._again is not None and self._now is not None:
            self._again.arm(self._now() + AGAIN_NS)
