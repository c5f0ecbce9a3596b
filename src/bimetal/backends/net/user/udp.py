"""UDP: for each port of the guest a socket of the host.

What arrives at that socket reaches the guest whoever sent it, as behind a router with an
endpoint-independent mapping (RFC 4787, section 4.1).
"""

from __future__ import annotations

import socket
from collections import deque
from errno import ECONNREFUSED, EMSGSIZE
from struct import Struct

from bimetal.backends.net.user.doors import new_socket
from bimetal.backends.net.user.icmp import PORT_UNREACHABLE, PROHIBITED, Failure, failure_of
from bimetal.backends.net.user.internet import UDP, Packet, plain_header
from bimetal.backends.net.user.link import Link
from bimetal.backends.net.user.poller import ERROR, READ, Poller
from bimetal.base.log import EventLog

__all__ = ["HEADER", "Datagrams", "Flow"]

FLOWS_LIMIT = 1024
"""Ports of guests in use at a time; the one that was silent for longest makes room."""

PEERS_LIMIT = 1024
"""Peers of a forwarded port whose real addresses are known."""

IDLE = 240_000_000_000
"""Nanoseconds of silence after which a port is forgotten (RFC 4787, section 4.3)."""

BURST = 16
"""Datagrams of one socket before others get a turn."""

LARGEST = 0xFFFF

IP_RECVERR, IPV6_RECVERR = 11, 25
FROM_ICMP = (2, 3)
"""Linux's socket options for errors of sockets that are not connected, and the values of their
``ee_origin`` that mean that a router or the peer has reported it (ip(7))."""

HEADER = Struct(">HHHH")

_EXTENDED_ERROR = Struct("=IB")


class Flow:
    """A port of a guest, and its socket. ``peers`` has the socket addresses of those who spoke
    first, if it is a forwarded port; it stays then."""

    __slots__ = ("guest", "line", "peers", "port", "postponed", "used", "version")

    def __init__(self, guest: bytes, port: int, line: socket.socket, now: int, forwarded: bool):
        self.guest, self.port, self.line, self.used = guest, port, line, now
        self.version = 4 if len(guest) == 4 else 6
        self.postponed = False
        self.peers: dict[tuple[bytes, int], tuple[str, int]] | None = {} if forwarded else None


class Datagrams:
    """All ports of guests. ``now`` is the time in nanoseconds, as its owner last told."""

    def __init__(self, link: Link, poller: Poller, restricted: bool, log: EventLog):
        self.now = 0
        self._link, self._poller, self._restricted, self._log = link, poller, restricted, log
        self._flows: dict[tuple[bytes, int], Flow] = {}
        self._forwarded: dict[tuple[bytes, int], Flow] = {}
        self._postponed: deque[Flow] = deque()

    def __len__(self) -> int:
        return len(self._flows)

    def send(self, packet: Packet, data: bytes) -> None:
        """Send what a guest's datagram ``packet`` carries."""
        port, to_port, *_ = HEADER.unpack_from(packet.payload)
        guest, to = packet.source, packet.destination
        flow = self._forwarded.get((guest, port))
        address: tuple[str, int] | None = None
        if flow is not None and flow.peers is not None:
            address = flow.peers.get((to, to_port))
        if address is None:
            host = self._link.places.host_address(to)
            if self._restricted:
                self._link.failed(packet, PROHIBITED)
                return
            if host is None or not to_port:
                answers = to in self._link.places.ours
                self._link.failed(packet, PORT_UNREACHABLE if answers else failure_of(0))
                return
            address = host, to_port
        try:
            flow = flow or self._flow(guest, port)
        except OSError as error:
            self._log.host_error("no socket for the guest", str(error))
            return
        flow.used = self.now
        failed = self._send(flow, data, address)
        if failed and failed not in (ECONNREFUSED, EMSGSIZE):
            self._link.failed(packet, failure_of(failed))

    def forward(self, guest: bytes, port: int, line: socket.socket) -> None:
        """Let datagrams that arrive at ``line`` reach a port of the guest."""
        flow = self._forwarded[guest, port] = Flow(guest, port, line, self.now, True)
        self._watch(flow)

    def resume(self) -> None:
        """The guest has room again."""
        for _ in range(len(self._postponed)):
            flow = self._postponed.popleft()
            flow.postponed = False
            self._receive(flow)

    @property
    def has_more(self) -> bool:
        """Whether somebody waits for `resume`."""
        return bool(self._postponed)

    def sweep(self) -> None:
        """Forget ports that were silent for long."""
        for flow in [each for each in self._flows.values() if self.now - each.used > IDLE]:
            self._forget(flow)

    def close(self) -> None:
        """Close all sockets. Idempotent."""
        for flow in (*self._flows.values(), *self._forwarded.values()):
            self._poller.remove(flow.line)
            flow.line.close()
        self._flows.clear()
        self._forwarded.clear()
        self._postponed.clear()

    def _flow(self, guest: bytes, port: int) -> Flow:
        """That of a guest's port, a new one if need be. Raises OSError."""
        flow = self._flows.get((guest, port))
        if flow is None:
            if len(self._flows) >= FLOWS_LIMIT:
                self._forget(min(self._flows.values(), key=lambda each: each.used))
            family = socket.AF_INET if len(guest) == 4 else socket.AF_INET6
            line = new_socket(family, socket.SOCK_DGRAM)
            flow = self._flows[guest, port] = Flow(guest, port, line, self.now, False)
            self._watch(flow)
        return flow

    def _watch(self, flow: Flow) -> None:
        v4 = flow.line.family == socket.AF_INET
        level, option = (
            (socket.IPPROTO_IP, IP_RECVERR) if v4 else (socket.IPPROTO_IPV6, IPV6_RECVERR)
        )
        flow.line.setsockopt(level, option, 1)
        self._poller.add(flow.line, lambda events: self._event(flow, events))

    def _forget(self, flow: Flow) -> None:
        del self._flows[flow.guest, flow.port]
        self._poller.remove(flow.line)
        flow.line.close()

    def _send(self, flow: Flow, data: bytes, address: tuple[str, int]) -> int:
        """Send; an errno, or 0. What the host has no room for is lost, as anywhere."""
        for _ in range(2):
            try:
                flow.line.sendto(data, address)
            except BlockingIOError:
                return 0
            except OSError as error:
                # An error of an earlier datagram is reported once, instead of sending this one.
                if not self._errors(flow):
                    return error.errno or 0
            else:
                return 0
        return 0

    def _event(self, flow: Flow, events: int) -> None:
        if events & ERROR:
            self._errors(flow)
        if events & READ:
            self._receive(flow)

    def _receive(self, flow: Flow) -> None:
        """Deliver what has come, as far as the guest has room."""
        places = self._link.places
        if flow.line.fileno() < 0:
            return
        for _ in range(BURST):
            if self._link.outlet.blocked:
                break
            try:
                data, address = flow.line.recvfrom(LARGEST)
            except BlockingIOError:
                return
            except OSError:
                self._errors(flow)
                continue
            flow.used = self.now
            source = places.seen_address(address[0], flow.version), address[1]
            if flow.peers is not None:
                if len(flow.peers) >= PEERS_LIMIT:
                    del flow.peers[next(iter(flow.peers))]
                flow.peers[source] = address
            self._link.udp(source, (flow.guest, flow.port), data)
        if not flow.postponed:
            flow.postponed = True
            self._postponed.append(flow)

    def _errors(self, flow: Flow) -> bool:
        """Tell the guest what became of earlier datagrams; whether there was anything to tell."""
        found = False
        for _ in range(BURST):
            try:
                data, ancillary, _, address = flow.line.recvmsg(512, 512, socket.MSG_ERRQUEUE)
            except OSError:
                return found
            found = True
            for _, kind, value in ancillary:
                if kind in (IP_RECVERR, IPV6_RECVERR) and len(value) >= _EXTENDED_ERROR.size:
                    error, origin = _EXTENDED_ERROR.unpack_from(value)
                    if origin in FROM_ICMP:
                        code = PORT_UNREACHABLE if error == ECONNREFUSED else failure_of(error)
                        self._failed(flow, address, len(data), code)
        return found

    def _failed(self, flow: Flow, address: tuple[str, int], length: int, code: Failure) -> None:
        to = self._link.places.seen_address(address[0], flow.version)
        header = plain_header(flow.guest, to, UDP, HEADER.size + length)
        quoted = HEADER.pack(flow.port, address[1], HEADER.size + length, 0)
        self._link.failed_for(header, quoted, flow.guest, code)
