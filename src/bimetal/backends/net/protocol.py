"""What a NIC and a machine know of the network at the far end of a cable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from bimetal.backends.reactor import Reactor
from bimetal.base.forwarded import Forwarded
from bimetal.base.frames import Frame, Port

__all__ = ["Leasing", "NetBackend"]


class NetBackend(Protocol):
    """A network: one of its own, a tap device, a socket.

    Every method is called under the machine's lock and none of them blocks. The order is
    `connect` once, `attach` once when the machine starts, and then anything until `close`.
    """

    offloads: int
    """What it does to frames that it is sent, as in `Offloads`: those that need more never come.
    Does not change."""

    mtu: int
    """The longest IP packet on it, in bytes; 0 if it knows of no limit but Ethernet's 1500."""

    forwards: Sequence[Forwarded]
    """The ports of the host that lead to the guest. Does not change."""

    def connect(self, port: Port) -> None:
        """From now on deliver frames to ``port``."""

    def attach(self, reactor: Reactor) -> None:
        """Let ``reactor`` call when the host has frames or takes them, and when it is time."""

    def send(self, frames: Sequence[Frame]) -> int:
        """Take frames of the guest, in their order; how many, from the first one on, are done with.

        The others stay in the guest's queue, and the guest with them feels the pressure, until
        `Port.sendable` is called. A network may as well drop what it cannot deliver, as every
        Ethernet does, and counts it. What the frames say is the guest's word: nothing in them is
        right because it ought to be. Calls `Port.receive` at will.
        """

    def resume(self) -> None:
        """The guest has room again, after `Port.receive` took fewer frames than it got."""

    def negotiated(self, offloads: int) -> None:
        """What the guest's driver does to frames that it receives, as in `Offloads`; nothing before
        the first call, and nothing again after a reset. Frames that need more may not be given to
        `Port.receive`."""

    def close(self) -> None:
        """Give everything back. Idempotent."""

    def forked(self) -> None:
        """This process is a copy, and the network is the other one's: close descriptors, so that
        whoever is at their other ends sees what the other one does, and do nothing else. Comes last
        of all, and neither `reactor` nor `Port` is used in it."""


@runtime_checkable
class Leasing(Protocol):
    """A network that hands out addresses."""

    def leases(self) -> Sequence[tuple[bytes, str]]:
        """The IPv4 addresses that it has handed out: to which MAC address, and the address with the
        length of its prefix, as in ``10.0.2.15/24``."""
