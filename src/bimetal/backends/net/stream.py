"""A cable to one other machine, over TCP or a Unix socket: as QEMU's ``stream`` and ``socket``."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bimetal.backends.listening import listen_tcp, listen_unix, short_path
from bimetal.backends.net.address import Address
from bimetal.backends.net.framed import FramedStream
from bimetal.backends.reactor import Reactor, Watch
from bimetal.base.clock import Timer
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.forwarded import Forwarded
from bimetal.base.frames import Frame, Port
from bimetal.base.lasting import lasts, undone
from bimetal.base.log import EventLog

__all__ = ["Stream", "connecting", "listening", "over"]

PATIENCE = 10.0
"""Seconds that the far end has for answering a call before the machine starts."""

SECOND = 1_000_000_000

Dial = Callable[[], socket.socket]
"""Makes a socket that does not block and has begun to connect."""


class Stream:
    """A network at the far end of a connection: ``sock`` if it is there already, or one that comes
    in at ``listener``, or that ``dial`` makes, again ``reconnect`` seconds after it was lost.

    The link is up while there is a connection. Frames sent without one are lost.
    """

    offloads, mtu = 0, 0
    forwards: Sequence[Forwarded] = ()

    def __init__(
        self,
        name: str,
        *,
        sock: socket.socket | None = None,
        listener: socket.socket | None = None,
        dial: Dial | None = None,
        reconnect: int = 0,
        made: str = "",
    ):
        self._log = EventLog(f"net.{name}")
        self._socket, self._listener, self._dial = sock, listener, dial
        self._reconnect, self._made = reconnect, made
        self._framed: FramedStream | None = None
        self._watch: Watch | None = None
        self._timer: Timer | None = None
        self._reactor: Reactor | None = None
        self._port: Port | None = None
        self._closed = False
        for each in (sock, listener):
            if each is not None:
                each.setblocking(False)
        if made:
            lasts(self._unlink)

    @property
    def address(self) -> str | tuple[str, int]:
        """Where it listens: a path, or host and port."""
        if self._made:
            return self._made
        assert self._listener is not None
        name: str | tuple[str, int] = self._listener.getsockname()
        return name if isinstance(name, str) else (name[0], name[1])

    def connect(self, port: Port) -> None:
        """See `NetBackend.connect`."""
        self._port = port
        if self._framed is not None:
            self._framed.connect(port)
        port.set_link(self._framed is not None)

    def attach(self, reactor: Reactor) -> None:
        """See `NetBackend.attach`."""
        self._reactor = reactor
        if self._listener is not None:
            self._watch = reactor.watch(self._listener.fileno(), on_readable=self._accept)
        if self._reconnect:
            self._timer = reactor.clock.timer(self._call)
        if self._socket is not None:
            self._begin(self._socket)
        elif self._dial is not None:
            self._call()

    def send(self, frames: Sequence[Frame]) -> int:
        """See `NetBackend.send`."""
        return len(frames) if self._framed is None else self._framed.send(frames)

    def resume(self) -> None:
        """See `NetBackend.resume`."""
        if self._framed is not None:
            self._framed.resume()

    def negotiated(self, offloads: int) -> None:
        """See `NetBackend.negotiated`: nothing that comes needs any."""

    def close(self) -> None:
        """See `NetBackend.close`. Removes the Unix socket."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._watch is not None:
            self._watch.close()
        self._hang_up()
        if self._listener is not None:
            self._listener.close()
        if self._made:
            self._unlink()
            undone(self._unlink)

    def forked(self) -> None:
        """See `NetBackend.forked`."""
        self._closed = True
        undone(self._unlink)
        for each in (self._socket, self._listener):
            if each is not None:
                each.close()

    def _unlink(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._made)

    # Connections

    def _accept(self) -> None:
        assert self._listener is not None
        assert self._watch is not None
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return  # who called has left again
        except OSError as error:
            self._log.host_error("cannot accept a connection", str(error))
            return
        self._watch.reading = False  # a cable has two ends; others wait in the queue of the kernel
        sock.setblocking(False)
        self._begin(sock)

    def _call(self) -> None:
        assert self._dial is not None
        assert self._reactor is not None
        try:
            self._socket = self._dial()
        except OSError as error:
            self._missed(error.strerror or str(error))
            return
        self._watch = self._reactor.watch(self._socket.fileno(), on_writable=self._answered)
        self._watch.writing = True

    def _answered(self) -> None:
        assert self._socket is not None
        assert self._watch is not None
        self._watch.close()
        failure = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failure:
            self._missed(os.strerror(failure))
        else:
            self._begin(self._socket)

    def _missed(self, reason: str) -> None:
        """There is no connection: try again some time."""
        self._log.host_error("no connection", reason)
        self._hang_up()

    def _begin(self, sock: socket.socket) -> None:
        assert self._reactor is not None
        assert self._port is not None
        self._socket = sock
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._framed = FramedStream(sock, self._port, self._log, self._left)
        self._framed.attach(self._reactor)
        self._port.set_link(True)

    def _left(self) -> None:
        """The far end has gone."""
        self._log.hint("the far end of the cable has gone")
        self._hang_up()
        if self._port is not None and self._reactor is not None:
            self._port.set_link(False)
            # What waits for it is lost. Not now: the NIC may be sending.
            self._reactor.call(self._port.sendable)

    def _hang_up(self) -> None:
        """Close the connection, and wait for another one if one may come."""
        if self._framed is not None:
            self._framed.detach()
            self._framed = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._closed:
            return
        if self._listener is not None and self._watch is not None:
            self._watch.reading = True
        if self._timer is not None and self._reactor is not None:
            self._timer.arm(self._reactor.clock.now_ns() + self._reconnect * SECOND)


def listening(address: Address) -> Stream:
    """Wait for another machine's call at ``address``. Raises `BimetalError`."""
    if address.path:
        made = os.path.abspath(address.path)
        return Stream(f"unix.{address.path}", listener=listen_unix(address.path), made=made)
    listener = listen_tcp(address.host, address.port)
    return Stream(f"tcp.{address}", listener=listener)


@contextmanager
def _in_words(where: object) -> Iterator[Any]:
    """An address as `Address.resolve` made it, in one that is not too long, for a moment."""
    if isinstance(where, str):
        with short_path(where) as short:
            yield short
    else:
        yield where


def connecting(address: Address, reconnect: int = 0) -> Stream:
    """Call another machine at ``address``, now, or with ``reconnect`` every so many seconds until
    it answers. Raises `BimetalError`."""
    family, where = address.resolve(socket.SOCK_STREAM)

    def dial() -> socket.socket:
        with _in_words(where) as there:
            sock = socket.socket(family, socket.SOCK_STREAM)
            sock.setblocking(False)
            failure = sock.connect_ex(there)
        if failure not in (0, errno.EINPROGRESS):
            sock.close()
            raise OSError(failure, os.strerror(failure))
        return sock

    if reconnect:
        return Stream(str(address), dial=dial, reconnect=reconnect)
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(PATIENCE)
    try:
        with _in_words(where) as there:
            sock.connect(there)
    except OSError as error:
        sock.close()
        raise BimetalError(
            f"nobody answers at {address}: {error.strerror or error}",
            "start the other machine first, or add reconnect=1 to try every second",
            ExitCode.UNAVAILABLE,
        ) from error
    return Stream(str(address), sock=sock)


def over(fd: int) -> Stream:
    """Use the connected stream socket that was handed down as descriptor ``fd``. Raises
    `BimetalError`."""
    try:
        sock = socket.socket(fileno=fd)
        if sock.type != socket.SOCK_STREAM:
            sock.detach()
            raise OSError(errno.EPROTOTYPE, os.strerror(errno.EPROTOTYPE))
        sock.getpeername()
    except OSError as error:
        raise BimetalError(
            f"descriptor {fd} is no connected stream socket: {error.strerror or error}",
            "hand one down to this process",
            ExitCode.USAGE,
        ) from error
    return Stream(f"fd.{fd}", sock=sock)
