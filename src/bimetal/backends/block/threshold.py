"""Telling when writes come so far into an image that its storage had better be made larger."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Threshold"]


class Threshold:
    """Tells once when something is written beyond ``limit`` bytes: ``tell`` is called with how many
    bytes beyond, in the thread that writes."""

    def __init__(self, limit: int, tell: Callable[[int], None]):
        self.limit, self._tell = limit, tell
        self._armed = True

    def mark(self, offset: int, length: int) -> None:
        """These bytes are about to be written."""
        beyond = offset + length - self.limit
        if beyond > 0 and self._armed:
            self._armed = False
            self._tell(beyond)
