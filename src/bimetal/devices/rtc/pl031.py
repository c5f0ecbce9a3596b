"""The PrimeCell real-time clock PL031 (Arm DDI 0224): seconds since 1970 and one alarm."""

from __future__ import annotations

from bimetal.base.clock import Clock
from bimetal.devices.output import Out
from bimetal.devices.primecell import MaskedCell
from bimetal.devices.register import Reg, Value

__all__ = ["Pl031"]

SECOND = 1_000_000_000
WORD = 0xFFFF_FFFF


class Pl031(MaskedCell):
    """Wall-clock time from ``clock``, moved by what the guest sets; ``irq`` when it matches."""

    kind = "rtc"
    node_name = "pl031"
    compatible = ("arm,pl031", "arm,primecell")
    peripheral_id, revision = 0x031, 1
    fixed = ("clock",)
    saved = ("moved", "raised", "_timer")

    DR = Reg(0x00, readonly=True, doc="the time")
    MR = Reg(0x04, doc="interrupts when the time is this")
    LR = Reg(0x08, doc="sets the time")
    CR = Reg(0x0C, writable=0, reset=1, doc="the clock runs, always")
    IMSC = Reg(0x10, writable=1)
    RIS = Reg(0x14, readonly=True)
    MIS = Reg(0x18, readonly=True)
    ICR = Reg(0x1C, writable=0)

    irq = Out()
    changed = Out(int, "seconds that it is ahead of the host's clock, since the guest has set it")

    def __init__(self, clock: Clock):
        self.clock = clock
        self.moved = 0
        self.raised = 0
        self._timer = clock.timer(self._match)
        super().__init__()

    def reset(self) -> None:
        """The time is kept: a reset does not affect the battery-backed clock."""
        super().reset()
        self.raised = 0
        self._timer.cancel()
        self._update()

    def restored(self) -> None:
        """The host's time went on meanwhile, perhaps beyond what is waited for."""
        if self._timer.deadline is not None:
            self._await()

    def r_DR(self) -> int:
        return self._now()

    def w_MR(self, written: Value) -> None:
        self._await()

    def w_LR(self, written: Value) -> None:
        self.moved = (self.moved + written - self._now()) & WORD
        self.changed(self.moved - (self.moved >> 31) * (WORD + 1))
        self._await()

    def _now(self) -> int:
        return (self.clock.wall_ns() // SECOND + self.moved) & WORD

    def _await(self) -> None:
        """Wait for the time in MR, which may be a century away."""
        wall, now = self.clock.wall_ns(), self.clock.now_ns()
        seconds = (self.MR - self._now()) & WORD
        if seconds == 0:
            self._match()
        else:
            self._timer.arm(now + seconds * SECOND - wall % SECOND)

    def _match(self) -> None:
        self.raised = 1
        self._update()

    def _update(self) -> None:
        self.irq(bool(self.raised & self.IMSC))
