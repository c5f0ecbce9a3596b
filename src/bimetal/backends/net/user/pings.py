"""Echo requests to the outside, through sockets that need no privilege (icmp(7), "ping sockets").

The host allows them to the groups in net.ipv4.ping_group_range.
"""

from __future__ import annotations

import socket
from errno import EACCES, EPERM

from bimetal.backends.net.user.doors import new_socket
from bimetal.backends.net.user.icmp import PROHIBITED, failure_of
from bimetal.backends.net.user.internet import Packet
from bimetal.backends.net.user.link import Link
from bimetal.backends.net.user.poller import ERROR, READ, Poller
from bimetal.base.log import EventLog

__all__ = ["Pings"]

FLOWS_LIMIT = 64
IDLE = 30_000_000_000
BURST = 16
LARGEST = 0xFFFF

HINT = "the host lets nobody ping: its sysctl net.ipv4.ping_group_range would have to allow it"


class _Flow:
    """A program of the guest that pings: its identifier, and a socket."""

    __slots__ = ("guest", "identifier", "line", "used")

    def __init__(self, guest: bytes, identifier: bytes, line: socket.socket, now: int):
        self.guest, self.identifier, self.line, self.used = guest, identifier, line, now


class Pings:
    """Passes echo requests on. ``now`` is the time in nanoseconds, as its owner last told."""

    def __init__(self, link: Link, poller: Poller, log: EventLog):
        self.now = 0
        self._link, self._poller, self._log = link, poller, log
        self._flows: dict[tuple[bytes, bytes], _Flow] = {}

    def __len__(self) -> int:
        return len(self._flows)

    def send(self, packet: Packet, host: str) -> None:
        """Send the echo request in ``packet`` to ``host``."""
        try:
            flow = self._flow(packet)
            flow.used = self.now
            flow.line.sendto(packet.payload, (host, 0))
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno in (EACCES, EPERM):
                self._log.hint(HINT)
                self._link.failed(packet, PROHIBITED)
            else:
                self._link.failed(packet, failure_of(error.errno or 0))

    def sweep(self) -> None:
        """Forget who was silent for long."""
        for flow in [each for each in self._flows.values() if self.now - each.used > IDLE]:
            self._forget(flow)

    def close(self) -> None:
        """Close all sockets. Idempotent."""
        for flow in list(self._flows.values()):
            self._forget(flow)

    def _flow(self, packet: Packet) -> _Flow:
        identifier = packet.payload[4:6]
        flow = self._flows.get((packet.source, identifier))
        if flow is None:
            if len(self._flows) >= FLOWS_LIMIT:
                self._forget(min(self._flows.values(), key=lambda each: each.used))
            v4 = len(packet.source) == 4
            line = new_socket(
                socket.AF_INET if v4 else socket.AF_INET6,
                socket.SOCK_DGRAM,
                socket.IPPROTO_ICMP if v4 else socket.IPPROTO_ICMPV6,
            )
            flow = _Flow(packet.source, identifier, line, self.now)
            self._flows[packet.source, identifier] = flow
            self._poller.add(line, lambda events: self._event(flow, events))
        return flow

    def _event(self, flow: _Flow, events: int) -> None:
        """Deliver replies; those for which the guest has no room are lost, as pings are."""
        if not events & (READ | ERROR):
            return
        places = self._link.places
        for _ in range(BURST):
            try:
                reply, address = flow.line.recvfrom(LARGEST)
            except OSError:
                return
            # The kernel has put its own identifier into what it sent.
            body = reply[:2] + b"\0\0" + flow.identifier + reply[6:]
            source = places.seen_address(address[0], 4 if len(flow.guest) == 4 else 6)
            self._link.icmp(source, flow.guest, body)

    def _forget(self, flow: _Flow) -> None:
        self._flows.pop((flow.guest, flow.identifier), None)
        self._poller.remove(flow.line)
        flow.line.close()
