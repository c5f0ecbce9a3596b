"""A line with nothing at its far end."""

from __future__ import annotations

from bimetal.backends.chars.protocol import Receive, Room
from bimetal.backends.reactor import Reactor

__all__ = ["NoChars"]


class NoChars:
    """Takes all output and has no input."""

    where = ""

    def write(self, data: bytes) -> None:
        """Output goes nowhere."""

    def connect(self, receive: Receive, room: Room | None = None) -> None:
        """There is no input."""

    def resume(self) -> None:
        """There is no input."""

    def attach(self, reactor: Reactor) -> None:
        """Nothing to wait for."""

    def close(self) -> None:
        """Nothing to give back."""
