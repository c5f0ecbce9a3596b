"""A network for tests: what a NIC sends is kept, and a test says what comes."""

from __future__ import annotations

from collections.abc import Sequence

from bimetal.backends.reactor import Reactor
from bimetal.base.forwarded import Forwarded
from bimetal.base.frames import PLAIN, Frame, Offload, Offloads, Port

STATION = bytes.fromhex("525400000001")
OTHER = bytes.fromhex("525400000002")


class Cable:
    """Takes ``room`` more frames, any number if that is None, and says so again by `make_room`."""

    forwards: Sequence[Forwarded] = ()

    def __init__(self, offloads: int = Offloads.ALL, mtu: int = 0):
        self.offloads, self.mtu = offloads, mtu
        self.room: int | None = None
        self.sent: list[tuple[bytes, Offload]] = []
        self.batches: list[int] = []
        self.accepted: list[int] = []
        self.waiting: list[tuple[bytes, Offload]] = []
        self.closed = self.forked_away = False
        self.answer: bytes | None = None
        self._port: Port | None = None

    def connect(self, port: Port) -> None:
        self._port = port

    def attach(self, reactor: Reactor) -> None:
        """Nothing of the host is waited for."""

    @property
    def port(self) -> Port:
        assert self._port is not None
        return self._port

    def send(self, frames: Sequence[Frame]) -> int:
        taken = len(frames) if self.room is None else min(self.room, len(frames))
        if self.room is not None:
            self.room -= taken
        self.batches.append(taken)
        self.sent += [(b"".join(frame.pieces), frame.offload) for frame in frames[:taken]]
        if self.answer is not None:
            self.deliver(self.answer)
        return taken

    def make_room(self, frames: int | None) -> None:
        self.room = frames
        self.port.sendable()

    def deliver(self, *frames: bytes, offload: Offload = PLAIN) -> None:
        """Send frames to the NIC; what it has no room for waits."""
        self.waiting += [(frame, offload) for frame in frames]
        self.resume()

    def resume(self) -> None:
        # In two pieces each: nothing may depend on how a frame is cut.
        cut = [Frame([data[:20], data[20:]] if len(data) > 20 else [data], offload)
               for data, offload in self.waiting]  # fmt: skip
        del self.waiting[: self.port.receive(cut)]

    def negotiated(self, offloads: int) -> None:
        self.accepted.append(offloads)

    def close(self) -> None:
        self.closed = True

    def forked(self) -> None:
        self.forked_away = True


def frame(payload: bytes = b"", to: bytes = STATION, kind: bytes = b"\x88\xb5") -> bytes:
    """An Ethernet frame of the type for experiments (IEEE 802, local experimental ethertype 1)."""
    return to + OTHER + kind + payload
