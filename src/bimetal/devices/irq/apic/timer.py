"""The timer of a local APIC (SDM volume 3, "APIC Timer").

It counts down at the bus clock, 1 GHz, divided by what the guest chooses; or it waits for a moment
of the time-stamp counter, which counts nanoseconds of the machine's clock.
"""

from __future__ import annotations

from collections.abc import Callable

from bimetal.base.clock import Clock
from bimetal.base.state import Stateful

__all__ = ["ApicTimer"]


class ApicTimer(Stateful):
    """Calls ``expire`` when it has counted to zero, or its deadline has come.

    ``divider`` are the nanoseconds for each count; a ``periodic`` one counts again and again; one
    that ``waits`` does so for a ``deadline``, and does not count.
    """

    saved = ("divider", "periodic", "waits", "deadline", "_alarm", "_count", "_began")
    fixed = ("_clock", "_expire")

    def __init__(self, clock: Clock, expire: Callable[[], None]):
        self._clock, self._expire = clock, expire
        self._alarm = clock.timer(self._fire)
        self.reset()

    def reset(self) -> None:
        """Neither count nor wait, with what is chosen after a reset."""
        self.divider = 2
        self.periodic = self.waits = False
        self.stop()

    def stop(self) -> None:
        """Neither count nor wait."""
        self._alarm.cancel()
        self._count = self._began = self.deadline = 0

    def choose(self, *, waits: bool, periodic: bool) -> None:
        """Whether it waits or counts, and how. Another kind of timer begins stopped."""
        if waits != self.waits:
            self.stop()
        self.waits, self.periodic = waits, periodic

    def start(self, count: int) -> None:
        """Count down from ``count``; from 0: stop. Nothing happens to one that waits."""
        if self.waits:
            return
        self.stop()
        if count:
            self._count, self._began = count, self._clock.now_ns()
            self._alarm.arm(self._began + count * self.divider)

    def divide(self, divider: int) -> None:
        """Go on from the current count, with so many nanoseconds for each."""
        left = self.left()
        self.divider = divider
        if left:
            self._began = self._clock.now_ns() - (self._count - left) * divider
            self._alarm.arm(self._began + self._count * divider)

    def left(self) -> int:
        """The current count."""
        if not self._count:
            return 0
        passed = (self._clock.now_ns() - self._began) // self.divider
        return max(self._count - passed, 0)

    def wait(self, deadline: int) -> None:
        """Wait until the machine's clock shows ``deadline``; 0: no more. Nothing happens to one
        that counts."""
        if not self.waits:
            return
        self.stop()
        self.deadline = deadline
        if deadline:
            self._alarm.arm(deadline)

    def _fire(self) -> None:
        if self._count and self.periodic:
            # Periods that have passed meanwhile, as on a busy host, are not made up for.
            period = self._count * self.divider
            self._began += (self._clock.now_ns() - self._began) // period * period
            self._alarm.arm(self._began + period)
        else:
            self._count = self.deadline = 0
        self._expire()
