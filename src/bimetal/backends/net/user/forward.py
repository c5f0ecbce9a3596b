"""Ports of the host that lead to the guest."""

from __future__ import annotations

import random
import socket
from errno import EACCES, EADDRINUSE, EADDRNOTAVAIL

from bimetal.backends.net.user.doors import new_socket
from bimetal.backends.net.user.link import Link
from bimetal.backends.net.user.poller import Poller
from bimetal.backends.net.user.settings import HostForward
from bimetal.backends.net.user.tcp.table import Tcp
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.forwarded import Forwarded
from bimetal.base.log import EventLog

__all__ = ["TcpForward", "forwarded", "listen"]

BACKLOG = 128

BURST = 16
"""Connections that are accepted before others get a turn."""

TRIES = 16
"""Ports that are tried for a peer whose own is in use at the guest."""

_REMEDIES = {
    EADDRINUSE: "choose another port, or end what uses it (`ss -lp` lists that)",
    EACCES: "choose a port from 1024 on: lower ones are reserved for root",
    EADDRNOTAVAIL: "choose an address of this host",
}


def listen(forward: HostForward) -> socket.socket:
    """The socket of a forwarded port. Raises `BimetalError`."""
    kind = socket.SOCK_STREAM if forward.protocol == "tcp" else socket.SOCK_DGRAM
    family = socket.AF_INET6 if ":" in forward.address else socket.AF_INET
    try:
        line = new_socket(family, kind)
        try:
            if family == socket.AF_INET6:
                line.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if kind == socket.SOCK_STREAM:
                line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            line.bind((forward.address, forward.port))
            if kind == socket.SOCK_STREAM:
                line.listen(BACKLOG)
        except OSError:
            line.close()
            raise
    except OSError as error:
        raise BimetalError(
            f"cannot listen at {forward.protocol}:{_joined(forward.address, forward.port)} for the "
            f"guest's port {forward.guest_port}: {error.strerror or error}",
            _REMEDIES.get(error.errno or 0, "choose another address or port"),
            ExitCode.UNAVAILABLE,
        ) from error
    return line


def forwarded(forward: HostForward, line: socket.socket) -> Forwarded:
    """Where to dial, and where it leads."""
    host, port = line.getsockname()[:2]
    return Forwarded(forward.protocol, host, port, forward.guest_port)


def _joined(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class TcpForward:
    """Hands connections at ``line`` on to a port of the guest, as soon as the guest is there: until
    then they wait in the host's kernel."""

    def __init__(
        self, line: socket.socket, guest: bytes, port: int, link: Link, tcp: Tcp, log: EventLog
    ):
        self._line, self._guest, self._port = line, guest, port
        self._link, self._tcp, self._log = link, tcp, log

    def watch(self, poller: Poller) -> None:
        """Let ``poller`` tell who dials."""
        poller.add(self._line, self._event)

    def close(self, poller: Poller) -> None:
        """Listen no more. Idempotent."""
        poller.remove(self._line)
        self._line.close()

    def accept(self) -> None:
        """Accept who has dialled."""
        ends = self._link.ends(self._guest)
        if ends is None:
            self._link.want(self._guest, self.accept)
            return
        for _ in range(BURST):
            try:
                line, address = self._line.accept()
            except BlockingIOError:
                return
            except OSError as error:
                self._log.host_error("cannot accept a connection for the guest", str(error))
                return
            line.setblocking(False)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            key = self._key(address)
            if key is None:
                line.close()
            else:
                self._tcp.accepted(key, ends, line)
        self._tcp.call_soon(self.accept)

    def _event(self, _: int) -> None:
        self.accept()

    def _key(self, address: tuple[str, int]) -> bytes | None:
        """The connection with a peer, which keeps its port if that is free at the guest."""
        version = 4 if len(self._guest) == 4 else 6
        host = self._link.places.seen_address(address[0], version)
        port = address[1]
        for _ in range(TRIES):
            key = self._guest + host + self._port.to_bytes(2) + port.to_bytes(2)
            if key not in self._tcp.connections:
                return key
            port = random.randrange(32768, 61000)
        return None
