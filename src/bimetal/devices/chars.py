"""What a serial device asks of the far end of its line; the back ends are written to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["Chars"]


class Chars(Protocol):
    """The far end of a serial line."""

    def write(self, data: bytes) -> None:
        """Take output of the guest. Never blocks."""

    def connect(
        self, receive: Callable[[bytes], None], room: Callable[[], int] | None = None
    ) -> None:
        """Deliver input to ``receive``, at most ``room()`` bytes at a time."""

    def resume(self) -> None:
        """There is room again, after ``room()`` was 0."""
