"""The CPU interfaces of a GICv2 without security extensions (IHI 0048B, 4.4).

Every CPU sees its own at one address. An interrupt is of group 0 or 1; both are signalled as IRQs,
or those of group 0 as FIQs.
"""

from __future__ import annotations

from bimetal.base.errors import GuestError
from bimetal.base.state import Stateful
from bimetal.devices.device import Device
from bimetal.devices.irq.gic.bank import SPURIOUS, Ready
from bimetal.devices.irq.gic.priorities import IDLE, ActivePriorities
from bimetal.devices.irq.gic.v2_distributor import Gicv2Distributor
from bimetal.devices.output import Outs
from bimetal.devices.register import Reg, RegArray, Value
from bimetal.memory.access import Access

__all__ = ["Gicv2CpuInterface"]

ENABLE0, ENABLE1, ACK_CTL, FIQ_EN, CBPR, EOI_MODE = (1 << n for n in (0, 1, 2, 3, 4, 9))
CTLR_BITS = ENABLE0 | ENABLE1 | ACK_CTL | FIQ_EN | CBPR | EOI_MODE
OF_GROUP_1 = 1022
"""The interrupt ID that an acknowledge returns if an interrupt of group 1 is pending that has to be
acknowledged through another register."""
PREEMPTION_BITS = 7
LOWEST_POINT, LOWEST_POINT_1 = 0, 1
IDENTITY = 0x0002_043B
"""GICC_IIDR of an Arm implementation (43B) of architecture version 2, as under QEMU."""


class Interface(Stateful):
    """What one CPU has set."""

    saved = ("control", "mask", "point", "point1", "active")

    def __init__(self) -> None:
        self.active = ActivePriorities(PREEMPTION_BITS)
        self.reset()

    def reset(self) -> None:
        """All is masked and nothing handled."""
        self.control = self.mask = 0
        self.point, self.point1 = LOWEST_POINT, LOWEST_POINT_1
        self.active.reset()

    def point_of(self, group: int) -> int:
        """How many low bits of a priority do not count for preemption (3.3.3, 3.7)."""
        return self.point1 if group and not self.control & CBPR else self.point + 1

    def admits(self, ready: Ready) -> bool:
        """Whether an interrupt is urgent enough for the mask and for what is handled."""
        point = self.point_of(ready.group)
        return ready.priority < self.mask and self.active.admits(ready.priority, point)


class Gicv2CpuInterface(Device):
    """What CPUs take interrupts of ``distributor`` by; ``irq[n]`` and ``fiq[n]`` lead to CPU n."""

    kind = "gicc"
    mmio_size = 0x2000
    saved = ("interfaces",)
    fixed = ("distributor", "cpus")
    access = Access(sizes=(1, 2, 4))

    IAR = Reg(0x0C, writable=0, doc="acknowledges")
    EOIR = Reg(0x10, writable=0, doc="ends")
    CTLR = Reg(0x00, writable=0, ENABLE0=0, ENABLE1=1, ACK_CTL=2, FIQ_EN=3, CBPR=4, EOI_MODE=9)
    PMR = Reg(0x04, writable=0, doc="only what is more urgent than this")
    BPR = Reg(0x08, writable=0, doc="of group 0")
    RPR = Reg(0x14, readonly=True, doc="the running priority")
    HPPIR = Reg(0x18, readonly=True, doc="what waits")
    ABPR = Reg(0x1C, writable=0, doc="of group 1")
    AIAR = Reg(0x20, writable=0, doc="acknowledges those of group 1")
    AEOIR = Reg(0x24, writable=0, doc="ends those of group 1")
    AHPPIR = Reg(0x28, readonly=True, doc="what waits of group 1")
    APR = RegArray(0xD0, 4, writable=0, doc="active priorities of group 0")
    NSAPR = RegArray(0xE0, 4, writable=0, doc="active priorities of group 1")
    IIDR = Reg(0xFC, readonly=True, reset=IDENTITY)
    DIR = Reg(0x1000, writable=0, doc="deactivates")

    irq = Outs("cpus")
    fiq = Outs("cpus")

    def __init__(self, distributor: Gicv2Distributor):
        self.distributor, self.cpus = distributor, distributor.cpus
        self.interfaces = [Interface() for _ in range(self.cpus)]
        super().__init__()
        distributor.listener = self.update

    def reset(self) -> None:
        super().reset()
        for interface in self.interfaces:
            interface.reset()
        self.update(None)

    def update(self, cpu: int | None) -> None:
        """Signal to ``cpu``, or to all of them, what waits and may interrupt."""
        for each in range(self.cpus) if cpu is None else (cpu,):
            interface, ready = self.interfaces[each], self._ready(each)
            signalled = ready is not None and interface.admits(ready)
            fast = bool(interface.control & FIQ_EN) and ready is not None and not ready.group
            for line, level in (
                (self.irq[each], signalled and not fast),
                (self.fiq[each], signalled and fast),
            ):
                if line.high != level:
                    line(level)

    def _ready(self, cpu: int) -> Ready | None:
        """The highest-priority pending interrupt, if the CPU has enabled its group."""
        ready = self.distributor.ready(cpu)
        on = ready is not None and self.interfaces[cpu].control >> ready.group & 1
        return ready if on else None

    @property
    def _cpu(self) -> int:
        return self.distributor.initiator.cpu

    @property
    def _own(self) -> Interface:
        return self.interfaces[self.distributor.initiator.cpu]

    # Registers

    def r_IAR(self) -> int:
        return self._acknowledge(bool(self._own.control & ACK_CTL))

    def r_AIAR(self) -> int:
        return self._acknowledge(None)

    def w_EOIR(self, written: Value) -> None:
        self._end(written & 0x3FF)

    def w_AEOIR(self, written: Value) -> None:
        self._end(written & 0x3FF)

    def w_DIR(self, written: Value) -> None:
        if not self._own.control & EOI_MODE:
            raise GuestError("deactivation where the end of an interrupt deactivates it")
        self.distributor.deactivate(self._cpu, written & 0x3FF)

    def r_CTLR(self) -> int:
        return self._own.control

    k_CTLR = r_CTLR

    def w_CTLR(self, written: Value) -> None:
        self._own.control = written & CTLR_BITS
        self.update(self._cpu)

    def r_PMR(self) -> int:
        return self._own.mask

    def w_PMR(self, written: Value) -> None:
        self._own.mask = written & 0xFF
        self.update(self._cpu)

    def r_BPR(self) -> int:
        return self._own.point

    def w_BPR(self, written: Value) -> None:
        self._own.point = max(written & 7, LOWEST_POINT)
        self.update(self._cpu)

    def r_ABPR(self) -> int:
        return self._own.point1

    def w_ABPR(self, written: Value) -> None:
        self._own.point1 = max(written & 7, LOWEST_POINT_1)
        self.update(self._cpu)

    def r_RPR(self) -> int:
        return min(self._own.active.running, 0xFF)

    def r_HPPIR(self) -> int:
        return self._waiting(bool(self._own.control & ACK_CTL))

    def r_AHPPIR(self) -> int:
        return self._waiting(None)

    def r_APR(self, index: int) -> int:
        return self._own.active.word(0, index)

    k_APR = r_APR

    def w_APR(self, index: int, written: Value) -> None:
        self._own.active.set_word(0, index, written)
        self.update(self._cpu)

    def r_NSAPR(self, index: int) -> int:
        return self._own.active.word(1, index)

    k_NSAPR = r_NSAPR

    def w_NSAPR(self, index: int, written: Value) -> None:
        self._own.active.set_word(1, index, written)
        self.update(self._cpu)

    def _visible(self, ready: Ready | None, both: bool | None) -> int:
        """What an acknowledging register shows of it: IAR those of group 0 and, if ``both``, of
        group 1; the aliases (None) those of group 1 (4.4.4, 4.4.8)."""
        if ready is None or (both is None and ready.group == 0):
            return SPURIOUS
        if both is False and ready.group == 1:
            return OF_GROUP_1
        return ready.sender << 10 | ready.number

    def _waiting(self, both: bool | None) -> int:
        return self._visible(self._ready(self._cpu), both)

    def _acknowledge(self, both: bool | None) -> int:
        cpu, interface = self._cpu, self._own
        ready = self._ready(cpu)
        if ready is None or not interface.admits(ready):
            return SPURIOUS
        shown = self._visible(ready, both)
        if shown & 0x3FF < OF_GROUP_1:
            point = interface.point_of(ready.group)
            interface.active.begin(ready.priority, ready.group, point)
            self.distributor.acknowledge(cpu, ready.number, ready.sender)
        return shown

    def _end(self, number: int) -> None:
        """The priority is dropped, and the interrupt deactivated unless DIR is to do that."""
        cpu, interface = self._cpu, self._own
        if number >= OF_GROUP_1:
            return  # nothing was acknowledged
        if number >= 32 + self.distributor.spis:
            raise GuestError(f"end of interrupt {number}, which is not there")
        if interface.active.running == IDLE:
            raise GuestError(f"end of interrupt {number}, and none is handled")
        interface.active.end(self.distributor.group(cpu, number))
        if interface.control & EOI_MODE:
            self.update(cpu)
        else:
            self.distributor.deactivate(cpu, number)
