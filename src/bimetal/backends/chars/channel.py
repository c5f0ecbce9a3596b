"""A line whose far end is one or two descriptors of the host."""

from __future__ import annotations

import os
from collections.abc import Callable

from bimetal.backends.chars.inbox import Inbox
from bimetal.backends.chars.outbox import LAST_WORDS, Outbox
from bimetal.backends.reactor import Reactor, Watch
from bimetal.base.log import EventLog

__all__ = ["Channel"]

CHUNK = 4096
"""Bytes read from a descriptor at once."""


def _nothing() -> None:
    """What happens at the end of a channel unless its owner says otherwise."""


class Channel:
    """Moves bytes between an `Inbox` and descriptors that must not block the guest.

    ``read`` and ``send`` are how; they raise BlockingIOError where there is nothing to be done.
    ``read_fd`` and ``write_fd`` may be the same, and either may be absent. ``filtered`` stands
    between reading and the inbox: it takes all input at once, room or not. ``on_end`` is called
    when there is no more input, ``on_gone`` when nobody takes output any more, each once at most;
    the other direction goes on. The channel does not close the descriptors.
    """

    def __init__(
        self,
        log: EventLog,
        inbox: Inbox,
        read_fd: int | None,
        write_fd: int | None,
        *,
        filtered: Callable[[bytes], None] | None = None,
        read: Callable[[int, int], bytes] = os.read,
        send: Callable[[int, bytes | bytearray], int] = os.write,
        on_end: Callable[[], None] = _nothing,
        on_gone: Callable[[], None] = _nothing,
        on_drop: Callable[[], None] | None = None,
    ):
        self._inbox, self._read_fd, self._filtered, self._on_end = inbox, read_fd, filtered, on_end
        self._read = read
        self._watch: Watch | None = None
        self._listens = True
        self.outbox = (
            None if write_fd is None else Outbox(log, write_fd, send, on_gone, on_drop=on_drop)
        )

    def attach(self, reactor: Reactor) -> None:
        """Let ``reactor`` run this channel."""
        if self._read_fd is not None:
            self._watch = reactor.watch(self._read_fd, on_readable=self._readable)
        if self.outbox is not None:
            self.outbox.attach(reactor)

    def write(self, data: bytes) -> None:
        """Send output of the guest."""
        if self.outbox is not None:
            self.outbox.write(data)

    def resume(self) -> None:
        """The device has room again."""
        self._inbox.deliver()
        self._read_on()

    def listen(self, wanted: bool) -> None:
        """Read input from now on, as at first, or leave it where it is."""
        self._listens = wanted
        if self._watch is not None:
            self._watch.reading = False
        self._read_on()

    def close(self, seconds: float = LAST_WORDS) -> None:
        """Stop watching, and send of what waits as much as goes within some seconds. Idempotent."""
        self._stop_reading()
        if self.outbox is not None:
            self.outbox.close(seconds)

    def _read_on(self) -> None:
        if self._watch is not None and self._listens and self._inbox.space > 0:
            self._watch.reading = True

    def _readable(self) -> None:
        assert self._read_fd is not None
        assert self._watch is not None
        count = CHUNK if self._filtered is not None else min(CHUNK, self._inbox.space)
        if count <= 0:
            self._watch.reading = False  # until `resume`
            return
        try:
            data = self._read(self._read_fd, count)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""  # a pty or a socket whose far end has gone
        if not data:
            self._stop_reading()
            self._on_end()
        elif self._filtered is not None:
            self._filtered(data)
        else:
            self._inbox.put(data)

    def _stop_reading(self) -> None:
        if self._watch is not None:
            self._watch.close()
