"""What a NIC asks of the network at the far end of its cable; the back ends are written to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bimetal.base.forwarded import Forwarded
from bimetal.base.frames import Frame, Port

__all__ = ["Network", "PulledOut", "Unplugged", "in_a_copy"]


class Network(Protocol):
    """The far end of a NIC's cable."""

    offloads: int
    """What it does to frames that are sent, as in `Offloads`."""

    mtu: int
    """The longest IP packet on it, in bytes; 0 if it knows of no limit but Ethernet's 1500."""

    forwards: Sequence[Forwarded]
    """The ports of the host that lead to the guest. Does not change."""

    def connect(self, port: Port) -> None:
        """From now on frames go to ``port``."""

    def send(self, frames: Sequence[Frame]) -> int:
        """Take frames of the guest; how many, from the first one on, are done with. Never blocks.
        The others are offered again after `Port.sendable`."""

    def resume(self) -> None:
        """The guest has room again, after `Port.receive` took fewer frames than it got."""

    def negotiated(self, offloads: int) -> None:
        """What the guest's driver does to frames that it receives; nothing at first."""

    def close(self) -> None:
        """Give everything back."""

    def forked(self) -> None:
        """This process is a copy, and the network is the other one's: close what is open here."""


class Unplugged:
    """A cable that leads nowhere any more, to ``before`` once: what is sent is lost."""

    forwards: Sequence[Forwarded] = ()

    def __init__(self, before: Network):
        self.offloads, self.mtu = before.offloads, before.mtu

    def connect(self, port: Port) -> None:
        """See `Network.connect`."""

    def send(self, frames: Sequence[Frame]) -> int:
        """See `Network.send`."""
        return len(frames)

    def resume(self) -> None:
        """See `Network.resume`."""

    def negotiated(self, offloads: int) -> None:
        """See `Network.negotiated`."""

    def close(self) -> None:
        """See `Network.close`."""

    def forked(self) -> None:
        """See `Network.forked`."""


class PulledOut(Unplugged):
    """The cable to ``network``, which is pulled out for a while: to the network it is a port that
    takes all, into nowhere. ``up`` is the state of the link that the network tells of."""

    def __init__(self, network: Network, *, up: bool):
        super().__init__(network)
        self.network, self.forwards = network, network.forwards
        network.connect(self)
        self.up = up  # some say at first that there is no link yet
        network.resume()  # perhaps it has waited for the guest to make room

    def receive(self, frames: Sequence[Frame]) -> int:
        """See `Port.receive`."""
        return len(frames)

    def sendable(self) -> None:
        """See `Port.sendable`."""

    def set_link(self, up: bool) -> None:
        """See `Port.set_link`."""
        self.up = up

    def negotiated(self, offloads: int) -> None:
        """See `Network.negotiated`."""
        self.network.negotiated(offloads)

    def close(self) -> None:
        """See `Network.close`."""
        self.network.close()

    def forked(self) -> None:
        """See `Network.forked`."""
        self.network.forked()


def in_a_copy(network: Network) -> Network:
    """What a cable to ``network``, which is the other one's, leads to in a copy of this process:
    nowhere; and it is pulled out if it was."""
    network.forked()
    nowhere = Unplugged(network)
    return PulledOut(nowhere, up=False) if isinstance(network, PulledOut) else nowhere
