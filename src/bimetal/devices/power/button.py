"""A push button, like the one that switches a machine off in good order."""

from __future__ import annotations

from bimetal.base.clock import Clock
from bimetal.base.state import Stateful
from bimetal.devices.output import Line

__all__ = ["PushButton"]

PRESSED_NS = 100_000_000
"""How long a finger stays."""


class PushButton(Stateful):
    """Drives ``line`` high while it is pressed."""

    saved = ("_release",)
    fixed = ("_clock", "_line")

    def __init__(self, clock: Clock, line: Line):
        self._clock, self._line = clock, line
        self._release = clock.timer(lambda: line(False))

    def press(self) -> None:
        """Press it for a tenth of a second; longer if it still is. Call with the lock held."""
        self._line(True)
        self._release.arm(self._clock.now_ns() + PRESSED_NS)
