"""A line that ends in memory: what tests and `console.expect` read, and what they type."""

from __future__ import annotations

from collections.abc import Callable

from bimetal.backends.chars.inbox import Inbox
from bimetal.backends.chars.protocol import Receive, Room
from bimetal.backends.reactor import Reactor

__all__ = ["RING_LIMIT", "Ring"]

RING_LIMIT = 4 << 20
"""Bytes of output kept unless the maker of the ring says otherwise."""


class Ring:
    """Keeps the last ``limit`` bytes of output, and delivers what is sent.

    ``total`` counts all output ever, so that a reader that remembers it can tell what is new (and
    what it missed). ``on_output`` is called after each write.
    """

    where = ""

    def __init__(self, limit: int = RING_LIMIT):
        self._limit = limit
        self._inbox = Inbox()
        self._kept = bytearray()
        self.total = 0
        self.on_output: Callable[[], None] | None = None

    @property
    def output(self) -> bytes:
        """The output that is kept, oldest first."""
        return bytes(self._kept)

    def since(self, position: int) -> bytes:
        """The output after the first ``position`` bytes ever, as far as it is still kept."""
        first = self.total - len(self._kept)
        return bytes(self._kept[max(0, position - first) :])

    def send(self, data: bytes) -> int:
        """Type ``data``; the number of bytes taken, fewer than all if the guest does not read."""
        return self._inbox.put(data)

    @property
    def typed(self) -> bytes:
        """What was typed and the guest has not read yet."""
        return self._inbox.waiting

    def retype(self, data: bytes) -> None:
        """Have nothing but ``data`` wait for the guest."""
        self._inbox.waiting = data

    def write(self, data: bytes) -> None:
        """See `CharBackend.write`."""
        self._kept += data
        self.total += len(data)
        if len(self._kept) > self._limit:
            del self._kept[: len(self._kept) - self._limit]
        if self.on_output is not None:
            self.on_output()

    def connect(self, receive: Receive, room: Room | None = None) -> None:
        """See `CharBackend.connect`."""
        self._inbox.connect(receive, room)

    def resume(self) -> None:
        """See `CharBackend.resume`."""
        self._inbox.deliver()

    def attach(self, reactor: Reactor) -> None:
        """Nothing to wait for: memory is always ready."""

    def close(self) -> None:
        """Nothing to give back; the output stays readable."""
