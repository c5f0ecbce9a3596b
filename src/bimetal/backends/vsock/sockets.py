"""A guest's ports as Unix sockets of the host, by the convention of Firecracker.

A machine listens at ``PATH``. Whoever connects there and sends ``CONNECT PORT`` and a line end is
connected to that port of the guest: if the guest accepts, the answer is the line ``OK`` and a
number, and what follows is the guest's; if it does not, the connection is closed. A guest that
connects to port PORT of its host (context 2) reaches who listens at the Unix socket ``PATH_PORT``.
"""

from __future__ import annotations

import os
import re
import socket
from contextlib import suppress
from typing import Protocol

from bimetal.backends.listening import listen_unix, short_path
from bimetal.backends.reactor import Reactor, Watch
from bimetal.backends.vsock.stream import End, HostStream
from bimetal.base.lasting import lasts, undone
from bimetal.base.log import EventLog

__all__ = ["VsockSockets"]

BACKLOG = 128
GREETINGS_LIMIT = 64
"""Clients that have not yet said to which port they want."""

GREETING = re.compile(rb"CONNECT ([0-9]{1,10})\r?\n")
GREETING_LIMIT = 32


class Guest(Protocol):
    """The device."""

    def call(self, port: int, stream: HostStream) -> End | None:
        """Ask the guest for a connection to its ``port``; None if there can be none."""


class VsockSockets:
    """The Unix sockets of a guest, at ``path``. Raises `BimetalError`."""

    def __init__(self, path: str):
        self.path = os.path.abspath(path)
        self._listener = listen_unix(path, BACKLOG)
        self._listener.setblocking(False)
        lasts(self._unlink)
        self._log = EventLog(f"vsock.{path}")
        self._guest: Guest | None = None
        self._reactor: Reactor | None = None
        self._watch: Watch | None = None
        self._streams: set[HostStream] = set()
        self._greetings: set[_Greeting] = set()
        self._closed = False

    def connect(self, device: Guest) -> None:
        """See `SocketHost`."""
        self._guest = device

    def dial(self, port: int) -> HostStream | None:
        """See `SocketHost`."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            with short_path(f"{self.path}_{port}") as short:
                sock.connect(short)
            return self._stream(sock)
        except OSError:
            sock.close()
            return None

    def attach(self, reactor: Reactor) -> None:
        """Let ``reactor`` tell of what the host does."""
        self._reactor = reactor
        self._watch = reactor.watch(self._listener.fileno(), on_readable=self._accept)

    def close(self) -> None:
        """See `SocketHost`. Removes the socket at the path."""
        if self._closed:
            return
        self._closed = True
        for greeting in list(self._greetings):
            greeting.close()
        for stream in list(self._streams):
            stream.abandon()
        if self._watch is not None:
            self._watch.close()
        self._listener.close()
        self._unlink()
        undone(self._unlink)

    def greeted(self, greeting: _Greeting, port: int, early: bytes) -> None:
        """A client wants to ``port`` of the guest, and has sent ``early`` already."""
        stream = self._stream(greeting.release(), greets=True)
        end = self._guest.call(port, stream) if self._guest is not None else None
        if end is None:
            stream.abandon()
        else:
            stream.begin(end, early)

    def forget(self, greeting: _Greeting) -> None:
        """The client is gone, or connected."""
        self._greetings.discard(greeting)
        if self._watch is not None and not self._closed:
            self._watch.reading = True

    def _stream(self, sock: socket.socket, *, greets: bool = False) -> HostStream:
        assert self._reactor is not None, "no guest runs before the reactor does"
        stream = HostStream(sock, self._reactor, self._streams.discard, greets=greets)
        self._streams.add(stream)
        return stream

    def _accept(self) -> None:
        assert self._reactor is not None
        assert self._watch is not None
        try:
            client, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError as error:
            self._log.host_error("cannot accept a client", str(error))
            return
        self._greetings.add(_Greeting(self, client, self._reactor))
        self._watch.reading = len(self._greetings) < GREETINGS_LIMIT

    def _unlink(self) -> None:
        with suppress(OSError):
            os.unlink(self.path)


class _Greeting:
    """A client that has not yet said to which port it wants."""

    def __init__(self, sockets: VsockSockets, sock: socket.socket, reactor: Reactor):
        self._sockets, self._sock = sockets, sock
        sock.setblocking(False)
        self._said = bytearray()
        self._watch = reactor.watch(sock.fileno(), on_readable=self._readable)

    def release(self) -> socket.socket:
        """The socket, which is somebody else's from now on."""
        self._watch.close()
        self._sockets.forget(self)
        return self._sock

    def close(self) -> None:
        """Hang up."""
        self.release().close()

    def _readable(self) -> None:
        try:
            data = self._sock.recv(GREETING_LIMIT - len(self._said))
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        self._said += data
        if found := GREETING.match(self._said):
            port, early = int(found[1]), bytes(self._said[found.end() :])
            if port <= 0xFFFF_FFFF:
                self._sockets.greeted(self, port, early)
                return
        elif data and b"\n" not in self._said and len(self._said) < GREETING_LIMIT:
            return
        self.close()
