"""The CPU interface of a GICv3: system registers of one CPU (IHI 0069H, 12.2).

There is one security state: interrupts of group 0 are signalled as FIQs, those of group 1 as IRQs.
"""

from __future__ import annotations

from bimetal.base.errors import GuestError
from bimetal.devices.device import Device
from bimetal.devices.irq.gic.bank import SPURIOUS, Ready, ones
from bimetal.devices.irq.gic.priorities import ActivePriorities
from bimetal.devices.irq.gic.v3_private import Gicv3Private
from bimetal.devices.output import Out
from bimetal.devices.register import Reg, Value
from bimetal.memory.access import Access

__all__ = ["Gicv3CpuInterface"]

PRIORITY_BITS = 5
LOWEST_POINT = 7 - PRIORITY_BITS
"""What binary points are at least: those of group 0; of group 1 it is one more."""
SPECIAL = range(1020, 1024)
"""Numbers that no interrupt has."""

CBPR, EOI_MODE = 1 << 0, 1 << 1
CTLR_BITS = CBPR | EOI_MODE
CTLR_SAYS = PRIORITY_BITS - 1 << 8 | 1 << 15  # numbers have 16 bits; affinity 3 may not be 0
ALL_BUT_SELF = 1 << 40
RANGE = 0xF << 44


def at(crn: int, crm: int, op2: int) -> int:
    """The offset of a system register of EL1, of which there is one every eight bytes."""
    return 8 * (3 << 14 | crn << 7 | crm << 3 | op2)


class Gicv3CpuInterface(Device):
    """What a CPU takes its interrupts by, those that wait for it in ``private``."""

    kind = "icc"
    mmio_size = 8 << 16
    access = Access(sizes=(8,))
    saved = ("active", "points")
    fixed = ("private",)

    IAR1 = Reg(at(12, 12, 0), 8, readonly=True, doc="acknowledges one of group 1")
    EOIR1 = Reg(at(12, 12, 1), 8, writable=0, doc="ends one of group 1")
    SGI1R = Reg(at(12, 11, 5), 8, writable=0, doc="sends one of group 1")
    PMR = Reg(at(4, 6, 0), 8, writable=0xF8, doc="only what is more urgent than this")
    HPPIR1 = Reg(at(12, 12, 2), 8, readonly=True, doc="what waits of group 1")
    BPR1 = Reg(at(12, 12, 3), 8, writable=0, doc="of group 1")
    CTLR = Reg(at(12, 12, 4), 8, writable=0, CBPR=0, EOI_MODE=1)
    IGRPEN0 = Reg(at(12, 12, 6), 8, writable=1)
    IGRPEN1 = Reg(at(12, 12, 7), 8, writable=1)
    IAR0 = Reg(at(12, 8, 0), 8, readonly=True, doc="acknowledges one of group 0")
    EOIR0 = Reg(at(12, 8, 1), 8, writable=0, doc="ends one of group 0")
    HPPIR0 = Reg(at(12, 8, 2), 8, readonly=True, doc="what waits of group 0")
    BPR0 = Reg(at(12, 8, 3), 8, writable=0, doc="of group 0")
    AP0R0 = Reg(at(12, 8, 4), 8, writable=0, doc="active priorities of group 0")
    AP1R0 = Reg(at(12, 9, 0), 8, writable=0, doc="active priorities of group 1")
    DIR = Reg(at(12, 11, 1), 8, writable=0, doc="deactivates")
    RPR = Reg(at(12, 11, 3), 8, readonly=True, doc="the running priority")
    ASGI1R = Reg(at(12, 11, 6), 8, writable=0, doc="sends one of the other security state")
    SGI0R = Reg(at(12, 11, 7), 8, writable=0, doc="sends one of group 0")

    irq = Out()
    fiq = Out()

    def __init__(self, private: Gicv3Private):
        self.private = private
        self.active = ActivePriorities(PRIORITY_BITS)
        self.points = [LOWEST_POINT, LOWEST_POINT + 1]
        super().__init__()
        private.listener = self.update

    def reset(self) -> None:
        super().reset()
        self.active.reset()
        self.points = [LOWEST_POINT, LOWEST_POINT + 1]
        self.update()

    def update(self) -> None:
        """Signal what waits and may interrupt."""
        ready = self._ready()
        group = None if ready is None or not self._admits(ready) else ready.group
        for line, level in ((self.irq, group == 1), (self.fiq, group == 0)):
            if line.high != level:
                line(level)

    def _ready(self) -> Ready | None:
        values = self.values
        return self.private.ready(values["IGRPEN0"] | values["IGRPEN1"] << 1)

    def _point(self, group: int) -> int:
        """How many low bits of a priority do not count for preemption (4.8.3)."""
        return self.points[1] if group and not self.CTLR & CBPR else self.points[0] + 1

    def _admits(self, ready: Ready) -> bool:
        point = self._point(ready.group)
        return ready.priority < self.values["PMR"] and self.active.admits(ready.priority, point)

    # Registers

    def r_IAR0(self) -> int:
        return self._acknowledge(0)

    def r_IAR1(self) -> int:
        return self._acknowledge(1)

    def r_HPPIR0(self) -> int:
        return self._waiting(0)

    def r_HPPIR1(self) -> int:
        return self._waiting(1)

    def w_EOIR0(self, written: Value) -> None:
        self._end(0, written & 0xFF_FFFF)

    def w_EOIR1(self, written: Value) -> None:
        self._end(1, written & 0xFF_FFFF)

    def w_DIR(self, written: Value) -> None:
        if not self.CTLR & EOI_MODE:
            raise GuestError("deactivation where the end of an interrupt deactivates it")
        self.private.deactivate(written & 0xFF_FFFF)
        self.update()

    def w_PMR(self, written: Value) -> None:
        self.update()

    def w_IGRPEN0(self, written: Value) -> None:
        self.update()

    w_IGRPEN1 = w_IGRPEN0

    def r_CTLR(self) -> int:
        return self.CTLR | CTLR_SAYS

    def w_CTLR(self, written: Value) -> None:
        self.CTLR = written & CTLR_BITS
        self.update()

    def r_BPR0(self) -> int:
        return self.points[0]

    def w_BPR0(self, written: Value) -> None:
        self.points[0] = max(written & 7, LOWEST_POINT)
        self.update()

    def r_BPR1(self) -> int:
        return min(self.points[0] + 1, 7) if self.CTLR & CBPR else self.points[1]

    def w_BPR1(self, written: Value) -> None:
        if not self.CTLR & CBPR:
            self.points[1] = max(written & 7, LOWEST_POINT + 1)
            self.update()

    def r_RPR(self) -> int:
        return min(self.active.running, 0xFF)

    def r_AP0R0(self) -> int:
        return self.active.word(0, 0)

    def w_AP0R0(self, written: Value) -> None:
        self.active.set_word(0, 0, written & 0xFFFF_FFFF)
        self.update()

    def r_AP1R0(self) -> int:
        return self.active.word(1, 0)

    def w_AP1R0(self, written: Value) -> None:
        self.active.set_word(1, 0, written & 0xFFFF_FFFF)
        self.update()

    def w_SGI1R(self, written: Value) -> None:
        self._send(written, 1)

    def w_SGI0R(self, written: Value) -> None:
        self._send(written, 0)

    w_ASGI1R = w_SGI0R

    def _waiting(self, group: int) -> int:
        ready = self._ready()
        return SPURIOUS if ready is None or ready.group != group else ready.number

    def _acknowledge(self, group: int) -> int:
        ready = self._ready()
        if ready is None or ready.group != group or not self._admits(ready):
            return SPURIOUS
        self.active.begin(ready.priority, group, self._point(group))
        self.private.acknowledge(ready.number)
        self.update()
        return ready.number

    def _end(self, group: int, number: int) -> None:
        """The priority is dropped, and the interrupt deactivated unless DIR is to do that."""
        if number in SPECIAL:
            return  # nothing was acknowledged
        if not self.active.leads(group):
            raise GuestError(f"end of interrupt {number}, and none of its group is handled")
        self.active.end(group)
        if not self.CTLR & EOI_MODE:
            self.private.deactivate(number)
        self.update()

    def _send(self, written: int, group: int) -> None:
        """ICC_SGIxR_EL1 (12.2.18): to the CPUs of a list, or to all others."""
        distributor, own = self.private.distributor, self.private.affinity
        assert distributor is not None
        number = written >> 24 & 15
        if written & ALL_BUT_SELF:
            targets = [each for each in distributor.affinities if each != own]
        elif written & RANGE:
            raise GuestError("an SGI for a range of CPUs, which there is none of")
        else:
            upper = (written >> 48 & 0xFF) << 32 | (written >> 32 & 0xFF) << 16
            upper |= (written >> 16 & 0xFF) << 8
            targets = [upper | bit for bit in ones(written & 0xFFFF)]
        distributor.send(targets, number, group)
