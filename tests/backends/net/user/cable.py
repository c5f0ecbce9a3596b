"""A guest played by a test: the other end of a user network's cable."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6ND_NA,
    ICMPv6ND_RA,
    IPv6,
)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

from bimetal.backends.net.options import Options
from bimetal.backends.net.user.network import UserNetwork
from bimetal.backends.net.user.options import parse_settings
from bimetal.backends.net.user.resolver import HostFile
from bimetal.backends.reactor import Reactor
from bimetal.base.clock import Clock, Countdown, RealClock
from bimetal.base.frames import NEEDS_CHECKSUM, Frame, Offload

__all__ = [
    "GATEWAY_MAC",
    "GUEST",
    "MAC",
    "PATIENCE",
    "Cable",
    "Plugged",
    "checked",
    "on_the_wire",
    "plugged",
    "sent",
    "total",
]

MAC = "52:54:00:12:34:56"
GUEST = "10.0.2.15"
GATEWAY_MAC = "52:55:0a:00:02:02"

PATIENCE = 60
"""Seconds for which a test waits for what comes in a moment, on any host."""


def total(data: bytes | bytearray) -> int:
    """The one's complement sum of 16-bit words."""
    words = data + bytes(len(data) & 1)
    result: int = sum(struct.unpack(f">{len(words) // 2}H", words))
    while result > 0xFFFF:
        result = (result & 0xFFFF) + (result >> 16)
    return result


def on_the_wire(frame: Frame) -> bytes:
    """The bytes of a frame, with the checksum that a NIC fills in."""
    data = bytearray(b"".join(frame.pieces))
    offload = frame.offload
    if offload.flags & NEEDS_CHECKSUM:
        start = offload.checksum_start
        at = start + offload.checksum_offset
        data[at : at + 2] = (0xFFFF - total(data[start:]) or 0xFFFF).to_bytes(2, "big")
    return bytes(data)


def sent(packet: Packet) -> Frame:
    """A frame of the guest with everything in it, as scapy makes it."""
    return Frame((memoryview(bytes(packet)),))


class Cable:
    """The NIC: takes as many frames as it has room for."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.offloads: list[Offload] = []
        self.room = 1 << 30
        self.batches = 0

    def receive(self, frames: Sequence[Frame]) -> int:
        taken = min(self.room, len(frames))
        self.room -= taken
        self.batches += 1
        for frame in frames[:taken]:
            self.frames.append(on_the_wire(frame))
            self.offloads.append(frame.offload)
        return taken

    def sendable(self) -> None:
        raise AssertionError("it takes everything")

    def set_link(self, up: bool) -> None:
        raise AssertionError("nobody pulls the plug")


class Plugged:
    """A network, the guest's end of its cable, and a machine's reactor."""

    def __init__(self, network: UserNetwork, clock: Clock):
        self.network, self.cable, self.reactor = network, Cable(), Reactor()
        self.clock = self.reactor.clock = clock  # type: ignore[assignment]
        network.connect(self.cable)
        network.attach(self.reactor)

    def send(self, *packets: Packet | Frame) -> None:
        """Send frames of the guest, in one batch."""
        frames = [each if isinstance(each, Frame) else sent(each) for each in packets]
        assert self.network.send(frames) == len(frames)
        self.reactor.turn(0)

    def learn(self) -> None:
        """Have the network know where the guest is."""
        self.send(
            Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=MAC, psrc=GUEST, pdst="10.0.2.2")
        )
        self.received()

    def received(self) -> list[Packet]:
        """What the guest has got since this was last called."""
        frames, self.cable.frames = self.cable.frames, []
        self.cable.offloads.clear()
        return [Ether(frame) for frame in frames]

    def ask(self, *packets: Packet) -> list[Packet]:
        """What comes at once in answer."""
        self.received()
        self.send(*packets)
        return self.received()

    def until(self, true: Callable[[], object]) -> None:
        """Let time go on until ``true`` is."""
        left = Countdown(PATIENCE)
        while not true():
            assert left.left, "nothing happens"
            self.reactor.turn(0.05)

    def turns(self, count: int = 3) -> None:
        """Let everybody have a turn who wants one now."""
        for _ in range(count):
            self.reactor.turn(0)


@contextmanager
def plugged(
    *options: tuple[str, str],
    clock: Clock | None = None,
    files: tuple[HostFile, HostFile] | None = None,
) -> Iterator[Plugged]:
    """A user network with these options, and a guest at it."""
    network = UserNetwork(parse_settings(Options("user", options)), *(files or ()))
    at = Plugged(network, clock or RealClock())
    try:
        yield at
    finally:
        network.close()
        at.reactor.close()


def checked(packet: Packet) -> None:
    """Fail unless scapy comes to the same lengths and checksums as are in ``packet``."""
    again = Ether(bytes(packet))
    for kind, fields in _COMPUTED.items():
        if kind in again:
            for field in fields:
                delattr(again[kind], field)
    assert bytes(Ether(bytes(again))) == bytes(packet)


_COMPUTED = {
    IP: ("len", "chksum"),
    IPv6: ("plen",),
    TCP: ("chksum",),
    UDP: ("len", "chksum"),
    ICMP: ("chksum",),
    ICMPv6ND_RA: ("cksum",),
    ICMPv6ND_NA: ("cksum",),
    ICMPv6EchoReply: ("cksum",),
    ICMPv6DestUnreach: ("cksum",),
}
