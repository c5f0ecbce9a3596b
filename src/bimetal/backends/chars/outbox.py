"""Output on its way to a descriptor that takes it at its own pace."""

from __future__ import annotations

import errno
import select
from collections.abc import Callable

from bimetal.backends.reactor import Reactor, Watch
from bimetal.base.log import EventLog

__all__ = ["OUTBOX_LIMIT", "Outbox"]

OUTBOX_LIMIT = 1 << 20
"""Bytes that wait for a slow reader before output is dropped."""

LAST_WORDS_MS = 2000
"""How long `Outbox.close` waits for a reader that takes nothing at all."""

_GONE = frozenset({errno.EPIPE, errno.ECONNRESET, errno.EIO, errno.ENXIO, errno.EBADF})


class Outbox:
    """A bounded queue of bytes behind a guest that never waits.

    ``send`` writes to ``fd`` without blocking and returns how many bytes went, like `os.write`.
    ``dropped`` counts the bytes that found no place; ``on_gone`` is called when the reader has
    left for good.
    """

    def __init__(
        self,
        log: EventLog,
        fd: int,
        send: Callable[[int, bytes | bytearray], int],
        on_gone: Callable[[], None],
        limit: int = OUTBOX_LIMIT,
    ):
        self._log, self._fd, self._send, self._on_gone = log, fd, send, on_gone
        self._limit = limit
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

    def close(self) -> None:
        """Send the rest to a reader that is slow, but not to one that does not move at all.

        Idempotent.
        """
        if self._waiting:
            poller = select.poll()
            poller.register(self._fd, select.POLLOUT)
            while self._waiting and poller.poll(LAST_WORDS_MS):
                self.flush()
            self._drop(len(self._waiting))
            self._waiting.clear()
        if self._watch is not None:
            self._watch.close()
        self._gone = True

    def _try(self, data: bytes | bytearray) -> int:
        """Send once; the number of bytes done with, sent or given up on account of an error."""
        try:
            return self._send(self._fd, data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            count = len(data)
            self._drop(count)
            if error.errno in _GONE:
                self._gone = True
                self._waiting.clear()
                self._on_gone()
            else:
                self._log.host_error("output cannot be written", str(error))
            return count

    def _queue(self, data: bytes) -> None:
        place = max(0, self._limit - len(self._waiting))
        self._waiting += data[:place]
        self._drop(len(data) - place)
        if self._watch is not None:
            self._watch.writing = True

    def _drop(self, count: int) -> None:
        if count > 0:
            self.dropped += count
            self._log.host_error("output dropped, the reader is too slow or gone")
