"""A Unix socket of the host as the far end of a guest's connection."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

from bimetal.backends.reactor import Reactor

__all__ = ["End", "HostStream"]

CHUNK = 64 << 10


class End(Protocol):
    """The guest's end of the connection."""

    @property
    def room(self) -> int:
        """How many bytes `receive` takes just now."""

    def receive(self, data: bytes) -> None:
        """Data from the host."""

    def drained(self, count: int) -> None:
        """So many bytes of the guest's are gone to the host."""

    def host_ended(self) -> None:
        """Nothing follows what was received."""

    def host_gone(self) -> None:
        """Nobody is there any more."""


class HostStream:
    """Moves bytes between ``sock`` and an `End`. It closes the socket, and then calls
    ``on_closed``; with ``greets`` the host hears first that the guest has accepted."""

    def __init__(
        self,
        sock: socket.socket,
        reactor: Reactor,
        on_closed: Callable[[HostStream], None],
        *,
        greets: bool = False,
    ):
        self._sock, self._on_closed, self._greets = sock, on_closed, greets
        sock.setblocking(False)
        self._end: End | None = None
        self._waiting = bytearray()
        self._greeting = 0
        """Bytes that wait and are not the guest's."""
        self._ended = self._shut = self._over = self._closed = False
        self._watch = reactor.watch(sock.fileno(), self._readable, self._writable)
        self._watch.reading = False

    def begin(self, end: End, early: bytes = b"") -> None:
        """Whatever comes is for ``end``: first ``early``, which has come already."""
        self._end = end
        if early:
            end.receive(early)
        self.read_on()

    # What the device asks for

    def established(self, port: int) -> None:
        """See `Stream`."""
        if self._greets:
            greeting = f"OK {port}\n".encode()
            self._greeting += len(greeting)
            self._send(greeting)

    def write(self, data: bytes) -> int:
        """See `Stream`."""
        before = len(self._waiting)
        self._send(data)
        return len(data) - max(0, len(self._waiting) - before)

    def read_on(self) -> None:
        """See `Stream`."""
        if self._end is not None and self._end.room > 0 and not self._ended and not self._over:
            self._watch.reading = True

    def end(self) -> None:
        """See `Stream`."""
        self._shut = True
        self._settle()

    def close(self) -> None:
        """See `Stream`. The machine does not wait for who does not read."""
        self._over = True
        self._watch.reading = False
        self._settle()

    def abandon(self) -> None:
        """Close the socket at once. Idempotent."""
        if not self._closed:
            self._closed = self._over = True
            self._waiting.clear()
            self._watch.close()
            self._sock.close()
            self._on_closed(self)

    # The socket

    def _readable(self) -> None:
        if self._end is None:
            return
        room = min(CHUNK, self._end.room)
        if room <= 0:
            self._watch.reading = False  # until `read_on`
            return
        try:
            data = self._sock.recv(room)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._lost()
            return
        if data:
            self._end.receive(data)
        else:
            self._ended, self._watch.reading = True, False
            self._end.host_ended()

    def _send(self, data: bytes) -> None:
        if self._closed:
            return
        sent = 0 if self._waiting else self._try(data)
        if not self._closed:
            self._waiting += data[sent:]
            self._watch.writing = bool(self._waiting)
            if not self._waiting:
                self._greeting = 0

    def _writable(self) -> None:
        sent = self._try(self._waiting)
        del self._waiting[:sent]
        others = min(sent, self._greeting)
        self._greeting -= others
        if self._end is not None and sent > others and not self._over:
            self._end.drained(sent - others)
        self._settle()

    def _try(self, data: bytes | bytearray) -> int:
        try:
            return self._sock.send(data, socket.MSG_NOSIGNAL) if data else 0
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self._lost()
            return 0

    def _lost(self) -> None:
        """Nobody reads any more, or the socket has failed."""
        end, over = self._end, self._over
        self.abandon()
        if end is not None and not over:
            end.host_gone()

    def _settle(self) -> None:
        """Once nothing waits any more, do what was asked to follow."""
        if self._closed:
            return
        self._watch.writing = bool(self._waiting)
        if self._waiting:
            return
        if self._over:
            self.abandon()
        elif self._shut:
            self._shut = False
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError:
                self._lost()
