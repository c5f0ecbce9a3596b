"""Output on its way to a descriptor that takes it at its own pace."""

from __future__ import annotations

import errno
import select
from collections.abc import Callable

from bimetal.backends.reactor import Reactor, Watch
from bimetal.base.clock import Countdown
from bimetal.base.log import EventLog

__all__ = ["LAST_WORDS", "OUTBOX_LIMIT", "Outbox"]

OUTBOX_LIMIT = 1 << 20
"""Bytes that wait for a slow reader before output is dropped."""

LAST_WORDS = 2.0
"""Seconds that the end of the machine waits for a reader, however slowly it reads."""

_GONE = frozenset({errno.EPIPE, errno.ECONNRESET, errno.EIO, errno.ENXIO, errno.EBADF})


class Outbox:
    """A bounded queue of bytes behind a guest that never waits.

    ``send`` writes to ``fd`` without blocking and returns how many bytes went, like `os.write`.
    Of output that finds no place the newest ``limit`` bytes are kept: whoever comes to look wants
    to see what is now. ``dropped`` counts the others, and ``on_drop`` is called when there are
    some; ``on_gone`` when the reader has left for good.
    """

    def __init__(
        self,
        log: EventLog,
        fd: int,
        send: Callable[[int, bytes | bytearray], int],
        on_gone: Callable[[], None],
        limit: int = OUTBOX_LIMIT,
        on_drop: Callable[[], None] | None = None,
    ):
        self._log, self._fd, self._send, self._on_gone = log, fd, send, on_gone
        self._limit, self._on_drop = limit, on_drop
        self._waiting = bytearray()
        self._watch: Watch | None = None
        self._gone = False
        self.dropped = 0

    def attach(self, reactor: Reactor) -> None:
        """Let ``reactor`` tell when the descriptor takes bytes again."""
        self._watch = reactor.watch(self._fd, on_writable=self.flush)
        self._watch.writing = bool(self._waiting)

    def write(self, data: bytes) -> None:
        """Send ``data``, or queue it behind what waits already."""
        if self._gone:
            return
        if self._waiting and self._watch is not None:
            self._queue(data)  # the reactor will tell when trying makes sense
            return
        if not self._waiting:
            data = data[self._try(data) :]
        if data and not self._gone:
            self._queue(data)
            if self._watch is None:
                self.flush()

    def flush(self) -> None:
        """Send what waits, as far as the descriptor takes it."""
        while self._waiting and (sent := self._try(self._waiting)):
            del self._waiting[:sent]
        if self._watch is not None:
            self._watch.writing = bool(self._waiting) and not self._gone

    def close(self, seconds: float = LAST_WORDS) -> None:
        """Send of the rest what the reader takes within some seconds. Idempotent."""
        if self._waiting:
            self._linger(seconds)
            self._drop(len(self._waiting))
            self._waiting.clear()
        if self._watch is not None:
            self._watch.close()
        self._gone = True

    def _linger(self, seconds: float) -> None:
        poller, countdown = select.poll(), Countdown(seconds)
        poller.register(self._fd, select.POLLOUT)
        self.flush()
        while self._waiting and (left := countdown.left):
            if poller.poll(left * 1000):
                self.flush()

    def _try(self, data: bytes | bytearray) -> int:
        """Send once; the number of bytes done with, sent or given up on account of an error."""
        try:
            return self._send(self._fd, data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            count = len(data)
            if error.errno in _GONE:  # no error of the host: who hears of it knows what it means
                self.dropped += count
                self._gone = True
                self._waiting.clear()
                self._on_gone()
            else:
                self.dropped += count
                self._log.host_error("output cannot be written", str(error))
            return count

    def _queue(self, data: bytes) -> None:
        self._waiting += data
        excess = len(self._waiting) - self._limit
        if excess > 0:
            del self._waiting[:excess]
            self._drop(excess)
            if self._on_drop is not None:
                self._on_drop()
        if self._watch is not None:
            self._watch.writing = True

    def _drop(self, count: int) -> None:
        if count > 0:
            self.dropped += count
            self._log.host_error("output dropped, the reader is too slow or gone")
