"""Frames on their way to the guest."""

from __future__ import annotations

from collections.abc import Iterable

from bimetal.base.frames import Frame, Port

__all__ = ["Outlet"]

BATCH = 64
"""Frames that are gathered before the NIC gets them: it interrupts the guest once for all."""

LIMIT = 256
"""Frames that wait at most for a guest that takes none; whoever asked for more asks again."""


class Outlet:
    """Gathers frames and hands them to the NIC in batches.

    While the guest has no room, ``blocked`` is set and frames wait, up to `LIMIT`. Whoever has
    much to send and can send it later looks at ``blocked`` first.
    """

    def __init__(self) -> None:
        self.blocked = False
        self.dropped = 0
        self._port: Port | None = None
        self._frames: list[Frame] = []

    def connect(self, port: Port) -> None:
        """Deliver to ``port``."""
        self._port = port

    def put(self, frame: Frame) -> None:
        """Send ``frame`` soon, at the latest with the next `flush`."""
        frames = self._frames
        if len(frames) >= LIMIT:
            self.dropped += 1
            return
        frames.append(frame)
        if len(frames) >= BATCH and not self.blocked:
            self.flush()

    def put_all(self, frames: Iterable[Frame]) -> None:
        """Send several, in this order."""
        for frame in frames:
            self.put(frame)

    def flush(self) -> None:
        """Hand over what was gathered, as far as the guest has room."""
        frames = self._frames
        if frames and self._port is not None:
            taken = self._port.receive(frames)
            self.blocked = taken < len(frames)
            if self.blocked:
                del frames[:taken]
            else:
                frames.clear()

    def resume(self) -> None:
        """The guest has room again."""
        self.blocked = False
        self.flush()
