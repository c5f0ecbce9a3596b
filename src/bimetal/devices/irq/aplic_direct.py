"""A domain of an APLIC that delivers to harts directly: a hart is told of the most urgent source
that is pending, enabled and its target, and claims it (RISC-V Advanced Interrupt Architecture 1.0,
4.8)."""

from __future__ import annotations

from bimetal.devices.irq.aplic import HART, HARTS_AT, Aplic, each_source
from bimetal.devices.output import Outs
from bimetal.devices.register import RegArray, Value

__all__ = ["DirectAplic"]

HART_SIZE = 32
PRIORITY = 0xFF


class DirectAplic(Aplic):
    """A domain of which ``notify[h]`` leads to hart h."""

    # The first in the list is found first, and a claim happens once an interrupt.
    CLAIM = RegArray(HARTS_AT + 0x1C, "harts", stride=HART_SIZE, writable=0, doc="claimi")
    TOP = RegArray(HARTS_AT + 0x18, "harts", stride=HART_SIZE, writable=0, doc="topi")
    DELIVERY = RegArray(HARTS_AT, "harts", stride=HART_SIZE, writable=1, doc="idelivery")
    FORCE = RegArray(HARTS_AT + 0x4, "harts", stride=HART_SIZE, writable=1, doc="iforce")
    THRESHOLD = RegArray(HARTS_AT + 0x8, "harts", stride=HART_SIZE, writable=PRIORITY)
    notify = Outs("harts")

    def target(self, written: int) -> int:
        return self.hart(written) | (written & PRIORITY or 1)

    def r_TOP(self, index: int) -> int:
        threshold, best = self.THRESHOLD[index], 0
        least = threshold or PRIORITY + 1
        for number in each_source(self.pending & self.enabled):
            target = self.TARGET[number - 1]
            if target >> HART == index and target & PRIORITY < least:
                best, least = number, target & PRIORITY
        return best << 16 | least if best else 0

    def r_CLAIM(self, index: int) -> int:
        top = self.r_TOP(index)
        if top:
            self.pending &= ~self.clearable(1 << (top >> 16))
        else:
            self.FORCE[index] = 0
        self.notify_harts()
        return top

    def w_DELIVERY(self, index: int, written: Value) -> None:
        self.notify_harts()

    w_FORCE = w_THRESHOLD = w_DELIVERY

    def notify_harts(self) -> None:
        for hart, line in enumerate(self.notify):
            told = self.DOMAIN.IE and self.DELIVERY[hart] and (self.FORCE[hart] or self.r_TOP(hart))
            if told or line.high:
                line(bool(told))
