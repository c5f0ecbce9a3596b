"""The network as its machine sees it: its parts, their life, and when each of them has a turn."""

from __future__ import annotations

from collections.abc import Sequence

from bimetal.backends.net.user.doors import Doors
from bimetal.backends.net.user.forward import TcpForward, forwarded, listen
from bimetal.backends.net.user.icmp import failure_of
from bimetal.backends.net.user.intake import Intake
from bimetal.backends.net.user.internet import TCP, plain_header
from bimetal.backends.net.user.link import Link
from bimetal.backends.net.user.ndp import ALL_NODES, Neighbours6
from bimetal.backends.net.user.outlet import Outlet
from bimetal.backends.net.user.pings import Pings
from bimetal.backends.net.user.places import Places
from bimetal.backends.net.user.poller import Poller
from bimetal.backends.net.user.resolver import HOSTS, RESOLVERS, HostFile, Resolver
from bimetal.backends.net.user.settings import ORDINARY_MTU, Settings
from bimetal.backends.net.user.tcp.table import Tcp
from bimetal.backends.net.user.udp import Datagrams
from bimetal.backends.reactor import Reactor
from bimetal.base.clock import Clock, Timer
from bimetal.base.forwarded import Forwarded
from bimetal.base.frames import Frame, Offloads, Port
from bimetal.base.log import EventLog

__all__ = ["UserNetwork"]

SWEEP = 1_000_000_000
"""Nanoseconds between looks at who was silent for too long; none while nobody is there."""

ADVERTISE = 300_000_000_000
"""Nanoseconds between advertisements of the router, which guests believe for longer."""


class UserNetwork:
    """A network for one NIC, with a gateway to what the host's sockets reach. See `NetBackend`.

    Raises `BimetalError` if a port of the host cannot be had. ``resolvers`` and ``hosts`` are the
    host's files of DNS servers and of names.
    """

    offloads = Offloads.ALL

    def __init__(
        self,
        settings: Settings | None = None,
        resolvers: HostFile | None = None,
        hosts: HostFile | None = None,
    ):
        self.settings = settings = settings or Settings()
        self.mtu = settings.mtu if settings.mtu != ORDINARY_MTU else 0
        self.events = EventLog("net.user")
        self._places = Places(settings)
        self._poller = Poller(self._tell_time, self._finish)
        self._outlet = Outlet()
        self._neighbours6 = Neighbours6(settings, self._places)
        self._link = Link(self._places, self._neighbours6, settings.mtu, self._outlet)
        self._resolver = Resolver(
            settings, self._poller, resolvers or HostFile(RESOLVERS), hosts or HostFile(HOSTS)
        )
        self._doors = Doors(settings, self._places, self._resolver.servers)
        self._tcp = Tcp(
            self._outlet, self._poller, self._doors, settings.mtu, self.events, self._tcp_failed
        )
        self._udp = Datagrams(self._link, self._poller, settings.restricted, self.events)
        self._pings = Pings(self._link, self._poller, self.events)
        self._intake = Intake(
            settings, self._link, self._neighbours6, self._tcp, self._udp, self._pings,
            self._resolver, self.events, self._sweep_soon,
        )  # fmt: skip
        self._reactor: Reactor | None = None
        self._clock: Clock | None = None
        self._sweeping: Timer | None = None
        self._advertising: Timer | None = None
        self._asked_turn = self._closed = False
        self._listeners: list[TcpForward] = []
        self.forwards: Sequence[Forwarded] = ()
        try:
            self._open_forwards()
        except BaseException:
            self.close()
            raise

    # See `NetBackend`

    def connect(self, port: Port) -> None:
        """See `NetBackend.connect`."""
        self._outlet.connect(port)

    def attach(self, reactor: Reactor) -> None:
        """See `NetBackend.attach`."""
        self._reactor, clock = reactor, reactor.clock
        self._clock = clock
        self._tell_time()
        self._sweeping = clock.timer(self._sweep)
        self._tcp.attach(clock)
        self._link.attach(clock)
        self._poller.attach(reactor)
        if self.settings.ipv6:
            self._advertising = clock.timer(self._advertise)
            self._advertising.arm(clock.now_ns() + ADVERTISE)

    def send(self, frames: Sequence[Frame]) -> int:
        """See `NetBackend.send`. Takes all frames, as a router does: what cannot be kept is lost,
        and TCP's windows tell the guest before."""
        if self._closed:
            return len(frames)
        self._tell_time()
        take = self._intake.take
        for frame in frames:
            take(frame)
        self._outlet.flush()
        self._ask_for_turn()  # what came is acknowledged then: a guest sends on meanwhile, and more
        return len(frames)

    def resume(self) -> None:
        """See `NetBackend.resume`."""
        if not self._closed:
            self._tell_time()
            self._outlet.resume()
            self._go_on()

    def negotiated(self, offloads: int) -> None:
        """See `NetBackend.negotiated`. Frames need all of it; who cannot give it stands between."""

    def leases(self) -> Sequence[tuple[bytes, str]]:
        """See `Leasing`."""
        length = self.settings.network.prefixlen
        return [(mac, f"{address}/{length}") for mac, address in self._intake.leases()]

    def close(self) -> None:
        """See `NetBackend.close`."""
        if self._closed:
            return
        self._closed = True
        for timer in (self._sweeping, self._advertising):
            if timer is not None:
                timer.cancel()
        for part in (self._link, self._tcp, self._udp, self._pings, self._resolver, self._doors):
            part.close()
        for listener in self._listeners:
            listener.close(self._poller)
        self._poller.close()

    def forked(self) -> None:
        """See `NetBackend.forked`."""
        self._closed = True
        self._poller.forked()

    # Turns

    def _tell_time(self) -> None:
        if self._clock is not None:
            now = self._clock.now_ns()
            self._tcp.now = self._udp.now = self._pings.now = self._resolver.now = now

    def _finish(self) -> None:
        """The end of a batch: hand over what is to go to the guest."""
        self._tcp.finish_batch()
        self._outlet.flush()
        self._ask_for_turn()

    def _ask_for_turn(self) -> None:
        if not self._asked_turn and self._has_more and self._reactor is not None:
            self._asked_turn = True
            self._reactor.call(self._turn)

    @property
    def _has_more(self) -> bool:
        return not self._outlet.blocked and (self._tcp.has_more or self._udp.has_more)

    def _turn(self) -> None:
        self._asked_turn = False
        if not self._closed:
            self._tell_time()
            self._go_on()

    def _go_on(self) -> None:
        """Let those go on who had to wait."""
        if not self._outlet.blocked:
            self._tcp.go_on()
            self._udp.resume()
        self._finish()

    def _sweep_soon(self) -> None:
        if self._sweeping is not None and self._sweeping.deadline is None and self._clock:
            self._sweeping.arm(self._clock.now_ns() + SWEEP)

    def _sweep(self) -> None:
        self._tell_time()
        self._udp.sweep()
        self._pings.sweep()
        self._resolver.sweep()
        self._finish()
        if len(self._udp) or len(self._pings) or len(self._resolver):
            self._sweep_soon()

    def _advertise(self) -> None:
        """Tell all guests about the router, before they forget it."""
        assert self._clock is not None
        assert self._advertising is not None
        self._link.message(self._neighbours6.advertisement(ALL_NODES))
        self._finish()
        self._advertising.arm(self._clock.now_ns() + ADVERTISE)

    def _open_forwards(self) -> None:
        for forward in self.settings.forwards:
            guest = (forward.guest or self.settings.guest).packed
            line = listen(forward)
            self.forwards = (*self.forwards, forwarded(forward, line))
            if forward.protocol == "udp":
                self._udp.forward(guest, forward.guest_port, line)
            else:
                listener = TcpForward(
                    line, guest, forward.guest_port, self._link, self._tcp, self.events
                )
                listener.watch(self._poller)
                self._listeners.append(listener)

    def _tcp_failed(self, key: bytes, sequence: int, error: int) -> None:
        """A connection of the guest cannot be: tell it, quoting the segment that asked."""
        half = len(key) // 2 - 2
        guest, there = key[:half], key[half : 2 * half]
        header = plain_header(guest, there, TCP, 20)
        quoted = key[2 * half :] + sequence.to_bytes(4)
        self._link.failed_for(header, quoted, guest, failure_of(error))
