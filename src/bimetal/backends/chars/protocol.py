"""What a serial device knows of the far end of its line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from bimetal.backends.reactor import Reactor

__all__ = ["CharBackend", "Receive", "Room"]

Receive = Callable[[bytes], None]
"""Takes input from outside, at most as many bytes as the `Room` beside it told."""

Room = Callable[[], int]
"""How many bytes the device can take just now."""


class CharBackend(Protocol):
    """The far end of a line: a terminal, a socket, a file, a test.

    Every method is called under the machine's lock and none of them blocks, but `close` may wait
    some seconds for a slow reader.
    """

    @property
    def where(self) -> str:
        """What to open or dial to be at this end, as in `open_chars`; "" if nobody can."""

    def write(self, data: bytes) -> None:
        """Send output of the guest. Of what the far end does not take for long the oldest is
        dropped, counted and logged: a guest never waits for the outside."""

    def connect(self, receive: Receive, room: Room | None = None) -> None:
        """Deliver input to ``receive``. While ``room()`` is 0 the back end leaves input where it
        is, so that the sender feels the pressure; without ``room``, ``receive`` takes all."""

    def resume(self) -> None:
        """The device has room again, after ``room()`` was 0."""

    def attach(self, reactor: Reactor) -> None:
        """Let ``reactor`` call when the host has input or can take output again."""

    def close(self) -> None:
        """Send what can still be sent, and give everything back. Idempotent."""
