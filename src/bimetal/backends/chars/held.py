"""A line whose output is held in memory until a program takes it (QEMU's ``ringbuf``)."""

from __future__ import annotations

from bimetal.backends.chars.protocol import Receive, Room
from bimetal.backends.reactor import Reactor

__all__ = ["HeldOutput"]


class HeldOutput:
    """Holds the last ``size`` bytes of output that nobody has taken yet. There is no input."""

    where = ""

    def __init__(self, size: int):
        self.size = size
        self._held = bytearray()

    def take(self, size: int) -> bytes:
        """The oldest ``size`` bytes, or all that there are, which are held no more."""
        taken = bytes(self._held[:size])
        del self._held[:size]
        return taken

    def write(self, data: bytes) -> None:
        """See `CharBackend.write`."""
        self._held += data[-self.size :]
        if len(self._held) > self.size:
            del self._held[: len(self._held) - self.size]

    def connect(self, receive: Receive, room: Room | None = None) -> None:
        """There is no input."""

    def resume(self) -> None:
        """There is no input."""

    def attach(self, reactor: Reactor) -> None:
        """Nothing to wait for."""

    def close(self) -> None:
        """Nothing to give back; the output can still be taken."""
