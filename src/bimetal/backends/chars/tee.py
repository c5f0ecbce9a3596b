"""A line with several far ends: a person watches while a test reads."""

from __future__ import annotations

from bimetal.backends.chars.protocol import CharBackend, Receive, Room
from bimetal.backends.reactor import Reactor

__all__ = ["Tee"]


class Tee:
    """Output goes to all of ``ends``, input comes from any of them."""

    where = ""

    def __init__(self, *ends: CharBackend):
        self._ends = ends

    def write(self, data: bytes) -> None:
        """See `CharBackend.write`."""
        for end in self._ends:
            end.write(data)

    def connect(self, receive: Receive, room: Room | None = None) -> None:
        """See `CharBackend.connect`."""
        for end in self._ends:
            end.connect(receive, room)

    def resume(self) -> None:
        """See `CharBackend.resume`."""
        for end in self._ends:
            end.resume()

    def attach(self, reactor: Reactor) -> None:
        """See `CharBackend.attach`."""
        for end in self._ends:
            end.attach(reactor)

    def close(self) -> None:
        """See `CharBackend.close`."""
        for end in self._ends:
            end.close()
