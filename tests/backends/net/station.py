"""A NIC for tests of networks: it keeps what comes, as long as there is room, and sends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bimetal.backends.net.protocol import NetBackend
from bimetal.backends.reactor import Reactor
from bimetal.base.frames import PLAIN, Frame, Offload

TURNS = 2000


class Station:
    """One end of a cable to ``network``; ``room`` is None if there is room for everything."""

    def __init__(self, network: NetBackend, reactor: Reactor | None = None):
        self.network = network
        self.received: list[tuple[bytes, Offload]] = []
        self.room: int | None = None
        self.link = True
        self.waiting: list[Frame] = []
        self.woken = 0
        network.connect(self)
        if reactor is not None:
            network.attach(reactor)

    @property
    def frames(self) -> list[bytes]:
        return [data for data, _ in self.received]

    def send(self, *frames: bytes, offload: Offload = PLAIN) -> None:
        """Send frames; what there is no room for waits until `sendable`."""
        self.waiting += [Frame([memoryview(data)], offload) for data in frames]
        self._go_on()

    def make_room(self, count: int | None) -> None:
        self.room = count
        self.network.resume()

    def receive(self, frames: Sequence[Frame]) -> int:
        taken = len(frames) if self.room is None else min(self.room, len(frames))
        if self.room is not None:
            self.room -= taken
        self.received += [(b"".join(frame.pieces), frame.offload) for frame in frames[:taken]]
        return taken

    def sendable(self) -> None:
        self.woken += 1
        self._go_on()

    def set_link(self, up: bool) -> None:
        self.link = up

    def _go_on(self) -> None:
        if self.waiting:
            del self.waiting[: self.network.send(self.waiting)]


def turn_until(reactor: Reactor, condition: Callable[[], bool]) -> None:
    """Let the reactor work until something is so."""
    for _ in range(TURNS):
        if condition():
            return
        reactor.turn(0.05)
    raise AssertionError("it did not happen")
