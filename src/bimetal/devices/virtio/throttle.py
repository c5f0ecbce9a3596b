"""How fast a guest may use a device: limits of requests and bytes in a second."""

from __future__ import annotations

from collections.abc import Callable

from bimetal.base.clock import Clock
from bimetal.base.state import Stateful

__all__ = ["Throttle"]

SECOND = 10**9

BURST = SECOND // 10
"""How far ahead of its rate a guest may be, in ns: what it did not use for so long."""


class Throttle(Stateful):
    """At most ``requests`` and ``bytes`` in a second, on average; 0 for no limit.

    Each request is paid for after it was begun, in time: while more is owed than `BURST`, it is
    `shut`, and ``open`` is called once it no longer is.
    """

    saved = ("_free", "_timer")
    fixed = ("_clock", "_requests", "_bytes", "open")

    def __init__(self, clock: Clock, requests: int = 0, bytes: int = 0):
        self._clock, self._requests, self._bytes = clock, requests, bytes
        self._free = 0
        """When all is paid for."""
        self._timer = clock.timer(self._open)
        self.open: Callable[[], None] | None = None

    @property
    def shut(self) -> bool:
        """Whether no request may begin now."""
        wait = self._free - BURST
        if wait <= self._clock.now_ns():
            return False
        self._timer.arm(wait)
        return True

    def charge(self, bytes: int) -> None:
        """A request of that many bytes begins."""
        cost = SECOND // self._requests if self._requests else 0
        if self._bytes:
            cost = max(cost, bytes * SECOND // self._bytes)
        self._free = max(self._free, self._clock.now_ns()) + cost

    def _open(self) -> None:
        if self.open is not None:
            self.open()
