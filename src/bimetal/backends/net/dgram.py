"""A cable of datagrams, each of which is a frame: as QEMU's ``dgram``, over UDP or Unix sockets.

With a multicast group it is a hub, on which any number of machines hear each other.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Sequence
from ipaddress import ip_address
from struct import pack

from bimetal.backends.listening import remove_stale
from bimetal.backends.net.address import Address
from bimetal.backends.reactor import Reactor, Watch
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.forwarded import Forwarded
from bimetal.base.frames import ETHERNET_HEADER, FRAME_LIMIT, Frame, Port
from bimetal.base.lasting import lasts, undone
from bimetal.base.log import EventLog

__all__ = ["Datagrams", "between", "group", "is_group"]

AT_ONCE = 64
"""Datagrams received before somebody else has a turn."""

_NOBODY = frozenset({errno.ECONNREFUSED, errno.ENOENT, errno.ENOTCONN, errno.ECONNRESET})
"""Errors that mean that the far end is not there (yet): cables do not mind."""

_FULL = frozenset({errno.EAGAIN, errno.ENOBUFS})


class Datagrams:
    """Frames go out by ``sender`` to ``remote`` and come in at ``receiver``, which may be the same
    socket. What comes from ``sender`` itself, as groups have it, is passed over."""

    offloads, mtu = 0, 0
    forwards: Sequence[Forwarded] = ()

    def __init__(
        self,
        name: str,
        sender: socket.socket,
        receiver: socket.socket,
        remote: object,
        made: str = "",
    ):
        self._log = EventLog(f"net.{name}")
        self._sender, self._receiver, self._remote, self._made = sender, receiver, remote, made
        self._buffer = bytearray(FRAME_LIMIT + 1)
        self._waiting: list[Frame] = []
        self._refused = self._closed = False
        self._reading: Watch | None = None
        self._writing: Watch | None = None
        self._port: Port | None = None
        for each in (sender, receiver):
            each.setblocking(False)
        if made:
            lasts(self._unlink)

    @property
    def address(self) -> object:
        """Where it receives."""
        return self._receiver.getsockname()

    def connect(self, port: Port) -> None:
        """See `NetBackend.connect`."""
        self._port = port

    def attach(self, reactor: Reactor) -> None:
        """See `NetBackend.attach`."""
        self._reading = reactor.watch(self._receiver.fileno(), on_readable=self._readable)
        self._writing = reactor.watch(self._sender.fileno(), on_writable=self._writable)

    def send(self, frames: Sequence[Frame]) -> int:
        """See `NetBackend.send`."""
        for number, frame in enumerate(frames):
            try:
                self._sender.sendmsg(frame.pieces, [], 0, self._remote)  # type: ignore[arg-type]
            except OSError as error:
                if error.errno in _FULL and self._writing is not None:
                    self._refused = self._writing.writing = True
                    return number
                if error.errno not in _NOBODY:
                    self._log.host_error("a frame cannot be sent", str(error))
        return len(frames)

    def resume(self) -> None:
        """See `NetBackend.resume`."""
        self._deliver()

    def negotiated(self, offloads: int) -> None:
        """See `NetBackend.negotiated`: nothing that comes needs any."""

    def close(self) -> None:
        """See `NetBackend.close`. Removes the Unix socket."""
        if self._closed:
            return
        self._closed = True
        for watch in (self._reading, self._writing):
            if watch is not None:
                watch.close()
        self._sender.close()
        self._receiver.close()
        if self._made:
            self._unlink()
            undone(self._unlink)

    def forked(self) -> None:
        """See `NetBackend.forked`."""
        self._closed = True
        undone(self._unlink)
        self._sender.close()
        self._receiver.close()

    def _unlink(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self._made)

    def _writable(self) -> None:
        assert self._writing is not None
        assert self._port is not None
        self._writing.writing = False
        if self._refused:
            self._refused = False
            self._port.sendable()

    def _readable(self) -> None:
        own = self._sender.getsockname() if self._sender is not self._receiver else None
        view = memoryview(self._buffer)
        for _ in range(AT_ONCE):
            try:
                count, origin = self._receiver.recvfrom_into(self._buffer)
            except OSError as error:
                if error.errno in _NOBODY:
                    continue  # the answer to something that we sent
                if error.errno not in (errno.EAGAIN, errno.EINTR):
                    self._log.host_error("frames cannot be received", str(error))
                break
            if own is not None and origin[1] == own[1]:
                continue
            if ETHERNET_HEADER <= count <= FRAME_LIMIT:
                self._waiting.append(Frame([bytes(view[:count])]))
        self._deliver()

    def _deliver(self) -> None:
        assert self._port is not None
        if self._waiting:
            del self._waiting[: self._port.receive(self._waiting)]
        if self._reading is not None:
            self._reading.reading = not self._waiting


def between(local: Address, remote: Address) -> Datagrams:
    """A cable from ``local``, which this machine has, to ``remote``. Raises `BimetalError`."""
    if bool(local.path) != bool(remote.path):
        raise BimetalError(
            f"{local} and {remote} are of two kinds",
            "give two ports or two Unix sockets",
            ExitCode.USAGE,
        )
    family, where = remote.resolve(socket.SOCK_DGRAM)
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if local.path:
            remove_stale(local.path, socket.SOCK_DGRAM)
            sock.bind(local.path)
        else:
            sock.bind(local.resolve(socket.SOCK_DGRAM)[1])  # type: ignore[arg-type]
    except OSError as error:
        sock.close()
        raise _refused(local, error) from error
    except BimetalError:
        sock.close()
        raise
    made = os.path.abspath(local.path) if local.path else ""
    return Datagrams(f"dgram.{local}", sock, sock, where, made)


def group(address: Address, interface: str = "") -> Datagrams:
    """A hub: the multicast group ``address`` (IPv4), reached by the interface that has the address
    ``interface``, or the host's usual one. Raises `BimetalError`."""
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        receiver.bind((address.host, address.port))
        own = socket.inet_aton(interface or "0.0.0.0")
        joining = pack("4s4s", socket.inet_aton(address.host), own)
        receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, joining)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
        if interface:
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)
        sender.bind((interface, 0))
    except OSError as error:
        receiver.close()
        sender.close()
        raise _refused(address, error) from error
    return Datagrams(f"group.{address}", sender, receiver, (address.host, address.port))


def is_group(address: Address) -> bool:
    """Whether it is that of a multicast group."""
    try:
        return ip_address(address.host).is_multicast
    except ValueError:
        return False


def _refused(address: Address, error: OSError) -> BimetalError:
    return BimetalError(
        f"cannot receive at {address}: {error.strerror or error}",
        "choose an address of this host and a free port, or a new file",
        ExitCode.UNAVAILABLE,
    )
