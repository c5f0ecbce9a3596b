"""A server of images: clients over sockets, all in one thread, each with bounded memory."""

from __future__ import annotations

import contextlib
import os
import socket
from functools import partial

from bimetal.backends.block.nbd.address import Address
from bimetal.backends.block.nbd.answering import answer
from bimetal.backends.block.nbd.exported import Exported, Exports, Talk, Terms, Wire
from bimetal.backends.block.nbd.offering import offer
from bimetal.backends.listening import listen_tcp, listen_unix
from bimetal.backends.reactor import Reactor, Watch
from bimetal.base.buffers import split
from bimetal.base.lasting import lasts, undone
from bimetal.base.log import EventLog, logger

__all__ = ["ImageServer"]

BACKLOG = 16
"""Clients that may wait to be accepted."""

NEWCOMERS = 16
"""Clients that have not come to terms yet; the one that waits longest makes room for another."""


class ImageServer:
    """Serves ``exports`` to at most ``shared`` clients that come to the Unix socket ``path``, if
    that is given, or else to ``host`` and ``port`` (0: any that is free); `run` does the work.
    Disks are closed by their owner, after the server. Clients who do not say otherwise find the
    export ``name``. Raises `BimetalError` for an address that cannot be had, and OSError."""

    def __init__(
        self,
        exports: Exports,
        *,
        path: str | None = None,
        host: str = "",
        port: int = 0,
        shared: int = 1,
        name: str = "",
    ):
        self.exports, self._shared = exports, shared
        self._log = EventLog("nbd")
        self.sessions: list[Session] = []
        self._path = "" if path is None else os.path.abspath(path)
        with contextlib.ExitStack() as undo:
            self._reactor = Reactor()
            undo.callback(self._reactor.close)
            if path is None:
                self._listener = listen_tcp(host, port, BACKLOG)
            else:
                self._listener = listen_unix(path, BACKLOG)
                lasts(self._unlink)
            undo.callback(self._close_door)
            self._listener.setblocking(False)
            self._watch = self._reactor.watch(self._listener.fileno(), on_readable=self._accept)
            self.address = self._own_address(name)
            """Where clients find it."""
            undo.pop_all()

    def run(self) -> None:
        """Serve until `stop`."""
        self._reactor.run()

    def stop(self) -> None:
        """Have `run` return; from any thread."""
        self._reactor.stop()

    def remove(self, export: Exported) -> None:
        """Serve an export no more, and hang up on those who use it; from any thread."""
        self.exports.remove(export)
        self._reactor.call(partial(self._hang_up, export))

    def in_use(self, export: Exported) -> bool:
        """Whether a client uses an export."""
        return any(session.terms.export is export for session in tuple(self.sessions))

    def _hang_up(self, export: Exported) -> None:
        for session in tuple(self.sessions):
            if session.terms.export is export:
                session.close()

    def close(self) -> None:
        """Hang up, and flush what clients wrote. Raises OSError if that fails."""
        for session in tuple(self.sessions):
            session.close()
        self._watch.close()
        self._close_door()
        self._reactor.close()
        for export in self.exports:
            export.disk.flush()

    def _close_door(self) -> None:
        self._listener.close()
        if self._path:
            self._unlink()
            undone(self._unlink)

    def _own_address(self, name: str) -> Address:
        if self._path:
            return Address(name, path=self._path)
        host, port = self._listener.getsockname()[:2]
        return Address(name, host=host, port=port)

    def _unlink(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._path)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError as error:
            self._log.host_error("cannot accept a client", str(error))
            return
        newcomers = [session for session in self.sessions if not session.serving]
        if len(newcomers) >= NEWCOMERS:
            newcomers[0].close()
        try:
            Session(self, client, self._reactor)
        except OSError:  # it has left again
            client.close()

    def is_full(self) -> bool:
        """Whether no client more is served."""
        return sum(session.serving for session in self.sessions) >= self._shared


class Session:
    """One client. What it sends is read as far as it is needed next, and nothing more is done for
    it before it has taken what it asked for."""

    def __init__(self, server: ImageServer, client: socket.socket, reactor: Reactor):
        self._server, self._client, self._reactor = server, client, reactor
        self._wire, self.terms = Wire(), Terms()
        self.serving = self._closed = self._ending = False
        client.setblocking(False)
        if client.family != socket.AF_UNIX:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._talk = self._talking()
        self._wanted = bytearray(next(self._talk))
        self._filled = 0
        self._watch: Watch = reactor.watch(client.fileno(), self._receive, self._send)
        server.sessions.append(self)  # at once: a client that is gone already is met now
        self._send()

    def close(self) -> None:
        """Hang up. Idempotent."""
        if not self._closed:
            self._closed = True
            self._watch.close()
            self._client.close()
            self._talk.close()
            self._server.sessions.remove(self)

    def _talking(self) -> Talk:
        terms, wire = self.terms, self._wire
        if (yield from offer(self._server.exports, terms, wire, self._server.is_full)):
            assert terms.export is not None
            self.serving = True
            yield from answer(terms.export, terms, wire)

    def _receive(self) -> None:
        """The client has sent something, or is gone."""
        if self._wire.buffers or self._ending:
            return
        try:
            view = memoryview(self._wanted)[self._filled :]
            count = self._client.recv_into(view)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        if not count:
            self.close()
            return
        self._filled += count
        if self._filled == len(self._wanted):
            self._go_on(bytes(self._wanted))

    def _go_on(self, data: bytes) -> None:
        """Give ``data`` to the conversation, and see what it wants next. What nobody has foreseen
        ends this one, and the others go on."""
        try:
            wanted = self._talk.send(data)
        except StopIteration:
            self._ending = True
            self._send()
            return
        except Exception:
            logger("nbd").exception("a client is hung up on: what it asks for cannot be done")
            self.close()
            return
        self._filled, self._wanted = 0, bytearray(wanted)
        self._send()
        if not wanted and not self._closed:
            self._watch.reading = False
            self._reactor.call(self._turn)

    def _turn(self) -> None:
        """Go on with a long request."""
        if not self._closed and not self._wanted:
            self._go_on(b"")

    def _send(self) -> None:
        """Send what is to be sent, as far as the client takes it."""
        buffers = self._wire.buffers
        try:
            while buffers:
                sent = self._client.sendmsg(buffers[:1024])
                buffers[:] = split(buffers, sent)[1]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self.close()
            return
        if self._ending and not buffers:
            self.close()
            return
        self._watch.writing = bool(buffers)
        self._watch.reading = not buffers and bool(self._wanted)
