"""Input on its way to a device that takes it at its own pace."""

from __future__ import annotations

from bimetal.backends.chars.protocol import Receive, Room

__all__ = ["INBOX_LIMIT", "Inbox"]

INBOX_LIMIT = 64 << 10
"""Bytes that wait for a device before the sender is made to wait."""


class Inbox:
    """A bounded queue of bytes in front of a device.

    Input that arrives before a device is connected waits too.
    """

    def __init__(self, limit: int = INBOX_LIMIT):
        self._limit = limit
        self._waiting = bytearray()
        self._receive: Receive | None = None
        self._room: Room | None = None

    @property
    def space(self) -> int:
        """How many bytes `put` takes just now."""
        return self._limit - len(self._waiting)

    @property
    def is_empty(self) -> bool:
        """Whether the device has taken everything."""
        return not self._waiting

    @property
    def waiting(self) -> bytes:
        """What the device has not taken yet."""
        return bytes(self._waiting)

    @waiting.setter
    def waiting(self, data: bytes) -> None:
        self._waiting[:] = data[: self._limit]

    def connect(self, receive: Receive, room: Room | None) -> None:
        """Name the device; see `CharBackend.connect`. Delivers what has waited."""
        self._receive, self._room = receive, room
        self.deliver()

    def put(self, data: bytes) -> int:
        """Queue ``data`` and deliver what the device takes; the number of bytes accepted."""
        accepted = data[: self.space]
        self._waiting += accepted
        self.deliver()
        return len(accepted)

    def deliver(self) -> None:
        """Hand over as much as the device has room for.

        A device may call back from inside ``receive``: bytes leave the queue before they are
        handed over, so they are neither lost nor doubled nor reordered.
        """
        if self._receive is None:
            return
        while self._waiting:
            count = len(self._waiting) if self._room is None else self._room()
            if count <= 0:
                return
            chunk = bytes(self._waiting[:count])
            del self._waiting[:count]
            self._receive(chunk)
