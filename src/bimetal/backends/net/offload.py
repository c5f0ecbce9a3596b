"""Checksums and segmentation in software, for whoever has asked for less than it is sent."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence

from bimetal.backends.net.protocol import NetBackend
from bimetal.backends.net.segments import plain_frames, what_it_needs
from bimetal.backends.reactor import Reactor
from bimetal.base.frames import PLAIN, Frame, Offloads, Port

__all__ = ["SoftwareOffload"]

AT_ONCE = 64
"""Frames that are made before the next ones are."""


class _Path:
    """One direction: what goes to ``deliver``, which does ``offloads``, see `Port.receive`.

    It keeps no more than what is left of one frame that was begun.
    """

    def __init__(self, deliver: Callable[[Sequence[Frame]], int], offloads: int = 0):
        self._deliver, self.offloads = deliver, offloads
        self._rest: list[Frame] = []

    def flush(self) -> bool:
        """Deliver what waits; whether nothing waits any more."""
        if self._rest:
            del self._rest[: self._deliver(self._rest)]
        return not self._rest

    def pass_on(self, frames: Sequence[Frame]) -> int:
        """Deliver ``frames`` in a form that is understood; how many, from the first one on, are
        done with."""
        if not self.flush():
            return 0
        if self.offloads == Offloads.ALL:
            return self._deliver(frames)
        done, batch = 0, list[Frame]()
        ends: list[int] = []
        for frame in frames:
            batch += self._understood(frame)
            ends.append(len(batch))
            if len(batch) >= AT_ONCE:
                delivered = self._deliver_some(batch, ends)
                done += delivered
                if self._rest or delivered < len(ends):
                    return done
                batch, ends = [], []
        return done + self._deliver_some(batch, ends)

    def _understood(self, frame: Frame) -> list[Frame]:
        if frame.offload is PLAIN:
            return [frame]
        if what_it_needs(frame.offload) & ~self.offloads:
            return plain_frames(frame)
        return [frame if self.offloads else Frame(frame.pieces)]

    def _deliver_some(self, batch: list[Frame], ends: list[int]) -> int:
        """Deliver the frames that were made, of each original up to its end; how many originals are
        done with. Of one that was begun the rest is kept."""
        taken = self._deliver(batch) if batch else 0
        done = bisect_right(ends, taken)
        if done < len(ends) and taken > (ends[done - 1] if done else 0):
            self._rest = [Frame([b"".join(f.pieces)], f.offload) for f in batch[taken : ends[done]]]
            done += 1
        return done


class SoftwareOffload:
    """The network ``inner``, and between it and the NIC whatever one of them does not do."""

    def __init__(self, inner: NetBackend):
        self.inner = inner
        self.offloads, self.mtu, self.forwards = Offloads.ALL, inner.mtu, inner.forwards
        self._to_network = _Path(inner.send, inner.offloads)
        self._to_guest: _Path | None = None
        self._port: Port | None = None

    def connect(self, port: Port) -> None:
        """See `NetBackend.connect`."""
        self._port, self._to_guest = port, _Path(port.receive)
        self.inner.connect(self)

    def attach(self, reactor: Reactor) -> None:
        """See `NetBackend.attach`."""
        self.inner.attach(reactor)

    def close(self) -> None:
        """See `NetBackend.close`."""
        self.inner.close()

    def forked(self) -> None:
        """See `NetBackend.forked`."""
        self.inner.forked()

    # What the NIC does

    def send(self, frames: Sequence[Frame]) -> int:
        """See `NetBackend.send`."""
        return self._to_network.pass_on(frames)

    def resume(self) -> None:
        """See `NetBackend.resume`."""
        if self._to_guest is not None and self._to_guest.flush():
            self.inner.resume()

    def negotiated(self, offloads: int) -> None:
        """See `NetBackend.negotiated`."""
        if self._to_guest is not None:
            self._to_guest.offloads = offloads
        self.inner.negotiated(offloads)

    # What the network does, as to a `Port`

    def receive(self, frames: Sequence[Frame]) -> int:
        """See `Port.receive`."""
        return len(frames) if self._to_guest is None else self._to_guest.pass_on(frames)

    def sendable(self) -> None:
        """See `Port.sendable`."""
        if self._to_network.flush() and self._port is not None:
            self._port.sendable()

    def set_link(self, up: bool) -> None:
        """See `Port.set_link`."""
        if self._port is not None:
            self._port.set_link(up)
