"""The cable to the guest: who is where on it, and packets on their way there."""

from __future__ import annotations

from collections.abc import Callable

from bimetal.backends.net.user import arp, icmp
from bimetal.backends.net.user.icmp import Failure
from bimetal.backends.net.user.internet import (
    ICMP,
    ICMP6,
    Packet,
    packet_frames,
    udp_frames,
)
from bimetal.backends.net.user.ndp import NEIGHBOUR_HOPS, Message, Neighbours6, mac_of_group
from bimetal.backends.net.user.outlet import Outlet
from bimetal.backends.net.user.places import Places
from bimetal.base.clock import Clock, Timer
from bimetal.base.frames import Frame

__all__ = ["Link"]

NEIGHBOURS_LIMIT = 256
"""Addresses of guests that are remembered; who was heard last stays."""

WANTED_LIMIT = 64

ASK_AGAIN = 1_000_000_000
"""Nanoseconds between questions for an address that somebody waits for."""


class Link:
    """Knows the Ethernet addresses of guests from what they send, and asks for others."""

    def __init__(self, places: Places, neighbours6: Neighbours6, mtu: int, outlet: Outlet):
        self.places, self.mtu, self.outlet = places, mtu, outlet
        self._neighbours6 = neighbours6
        self._macs: dict[bytes, bytes] = {}
        self._wanted: dict[bytes, dict[Callable[[], None], None]] = {}
        self._timer: Timer | None = None
        self._clock: Clock | None = None

    def attach(self, clock: Clock) -> None:
        """Learn when it is time to ask again."""
        self._clock, self._timer = clock, clock.timer(self._ask_again)
        if self._wanted:
            self._ask_again()

    def close(self) -> None:
        """Ask no more. Idempotent."""
        self._wanted.clear()
        if self._timer is not None:
            self._timer.cancel()

    def learn(self, address: bytes, mac: bytes) -> None:
        """A guest with ``address`` is at ``mac``."""
        macs = self._macs
        if macs.get(address) == mac or mac[0] & 1 or not self.places.may_be_guest(address):
            return
        if len(macs) >= NEIGHBOURS_LIMIT:
            del macs[next(iter(macs))]
        macs[address] = mac
        for found in self._wanted.pop(address, ()):
            found()

    def ends(self, address: bytes) -> bytes | None:
        """The two Ethernet addresses of frames to ``address``, if it is known where that is."""
        mac = self._macs.get(address)
        return None if mac is None else mac + self.places.mac

    def want(self, address: bytes, found: Callable[[], None]) -> None:
        """Call ``found`` once it is known where ``address`` is, and ask for it until then. Whoever
        wants the same again is called once."""
        if address in self._wanted:
            self._wanted[address][found] = None
        elif len(self._wanted) < WANTED_LIMIT:
            self._wanted[address] = {found: None}
            self._ask(address)
            self._start_timer()

    # Packets

    def packet(
        self, source: bytes, destination: bytes, protocol: int, payload: bytes, hops: int = 64
    ) -> None:
        """Send a packet to a guest, or to all of them; to one that nobody knows, a question."""
        if self.places.is_group(destination):
            group = arp.BROADCAST if len(destination) == 4 else mac_of_group(destination)
            ends: bytes | None = group + self.places.mac
        else:
            ends = self.ends(destination)
        if ends is None:
            self._ask(destination)
            return
        self.outlet.put_all(
            packet_frames(ends, source, destination, protocol, payload, self.mtu, hop_limit=hops)
        )

    def udp(self, source: tuple[bytes, int], destination: tuple[bytes, int], data: bytes) -> None:
        """Send a datagram to a guest."""
        ends = self.ends(destination[0])
        if ends is None:
            self._ask(destination[0])
        else:
            self.outlet.put_all(udp_frames(ends, source, destination, data, self.mtu))

    def udp_to(
        self, mac: bytes, source: tuple[bytes, int], destination: tuple[bytes, int], data: bytes
    ) -> None:
        """Send a datagram to an Ethernet address, whoever has which address there."""
        ends = mac + self.places.mac
        self.outlet.put_all(udp_frames(ends, source, destination, data, self.mtu))

    def icmp(self, source: bytes, destination: bytes, body: bytes, hops: int = 64) -> None:
        """Send an ICMP or ICMPv6 message, whose checksum is 0 yet."""
        protocol = ICMP if len(source) == 4 else ICMP6
        body = icmp.with_checksum(source, destination, body)
        self.packet(source, destination, protocol, body, hops)

    def message(self, message: Message) -> None:
        """Send a message of neighbour discovery."""
        self.icmp(*message, hops=NEIGHBOUR_HOPS)

    def failed(self, packet: Packet, code: Failure) -> None:
        """Tell the sender of ``packet`` that it could not be delivered."""
        self.failed_for(packet.header, packet.payload, packet.source, code)

    def failed_for(self, header: bytes, payload: bytes, guest: bytes, code: Failure) -> None:
        """The same for a packet of which only the header and some of the payload is known."""
        if self.places.may_be_guest(guest):
            gateway = self.places.gateway if len(guest) == 4 else self.places.gateway6
            self.icmp(gateway, guest, icmp.failure(header, payload, code))

    # Asking

    def _ask(self, address: bytes) -> None:
        if not self.places.may_be_guest(address):
            return
        if len(address) == 16:
            self.message(self._neighbours6.solicitation(address))
        else:
            self.outlet.put(Frame((arp.ask(self.places.mac, self.places.gateway, address),)))

    def _ask_again(self) -> None:
        for address in self._wanted:
            self._ask(address)
        self.outlet.flush()
        self._start_timer()

    def _start_timer(self) -> None:
        if self._wanted and self._timer is not None and self._clock is not None:
            self._timer.arm(self._clock.now_ns() + ASK_AGAIN)
