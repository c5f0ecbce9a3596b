"""A line whose far end is one or two descriptors of the host."""

from __future__ import annotations

import os
from collections.abc import Callable

from bimetal.backends.chars.inbox import Inbox
from bimetal.backends.chars.outbox import Outbox
from bimetal.backends.reactor import Reactor, Watch
from bimetal.base.log import EventLog

__all__ = ["Channel"]

CHUNK = 4096
"""Bytes read from a descriptor at once."""


def _nothing() -> None:
    """What happens at the end of a channel unless its owner says otherwise."""


class Channel:
    """Moves bytes between an `Inbox` and descriptors that must not block the guest.

    ``read_fd`` and ``write_fd`` may be the same, and either may be absent. ``filtered`` stands
    between reading and the inbox: it takes all input at once, room or not. ``on_end`` is called
    once, when there is no more input or nobody takes output any more; the other direction goes
    on. The channel does not close the descriptors.
    """

    def __init__(
        self,
        log: EventLog,
        inbox: Inbox,
        read_fd: int | None,
        write_fd: int | None,
        *,
        filtered: Callable[[bytes], None] | None = None,
        send: Callable[[int, bytes | bytearray], int] = os.write,
        on_end: Callable[[], None] = _nothing,
    ):
        self._inbox, self._read_fd, self._filtered, self._on_end = inbox, read_fd, filtered, on_end
        self._watch: Watch | None = None
        self._ended = False
        self.outbox = None if write_fd is None else Outbox(log, write_fd, send, self._end)

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
        if self._watch is not None and self._inbox.space > 0:
            self._watch.reading = True

    def close(self) -> None:
        """Stop watching and send what waits. Idempotent."""
        self._ended = True
        self._stop_reading()
        if self.outbox is not None:
            self.outbox.close()

    def _readable(self) -> None:
        assert self._read_fd is not None
        assert self._watch is not None
        count = CHUNK if self._filtered is not None else min(CHUNK, self._inbox.space)
        if count <= 0:
            self._watch.reading = False  # until `resume`
            return
        try:
            data = os.read(self._read_fd, count)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""  # a pty or a socket whose far end has gone
        if not data:
            self._stop_reading()
            self._end()
        elif self._filtered is not None:
            self._filtered(data)
        else:
            self._inbox.put(data)

    def _stop_reading(self) -> None:
        if self._watch is not None:
            self._watch.close()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._on_end()
