"""The interrupt controllers of an x86 board where the accelerator does not model them, where a PC
has them. Where it does, no access comes to these."""

from __future__ import annotations

from functools import partial

from bimetal.boards.x86_handover import KernelControllers
from bimetal.devices.irq.apic.bus import ApicBus
from bimetal.devices.irq.apic.io import IoApic
from bimetal.devices.irq.apic.local import ADDRESS, LocalApic
from bimetal.devices.irq.apic.window import ApicWindow
from bimetal.devices.irq.pic import CASCADE, Pic, PicLevels
from bimetal.machine.chassis import Chassis
from bimetal.machine.cpus import CpuControl
from bimetal.seam import Cpu

__all__ = ["INTR", "NMI", "StartedCpus", "add_apics"]

INTR, NMI = 0, 1
"""Interrupt inputs of a CPU."""
IO_APIC = 0xFEC0_0000
FIRST_PIC, SECOND_PIC, PIC_LEVELS = 0x20, 0xA0, 0x4D0
REAL_MODE_CODE = 0x009B


def add_apics(m: Chassis) -> ApicBus:
    """Give each CPU a local APIC, and the board an I/O APIC and the older controllers of a PC for
    its interrupts."""
    bus = ApicBus()
    local = [LocalApic(cpu, bus, m.clock) for cpu in range(m.config.cpus)]
    for cpu, each in enumerate(local):
        m.add_registers(each, cpu=cpu, intr=m.line(cpu, INTR))
    m.add(ApicWindow(bus, m.initiator), at=ADDRESS)
    io = m.add(IoApic(bus), at=IO_APIC)
    second = Pic()
    first = m.add_port(Pic(second), port=FIRST_PIC, intr=local[0].legacy)
    m.add_port(second, port=SECOND_PIC, intr=first[CASCADE])
    m.add_port(PicLevels(first, second), port=PIC_LEVELS)
    bus.legacy = first
    m.controller = GlobalInterrupts(io, first, second)
    m.handover = KernelControllers()
    return bus


class GlobalInterrupts:
    """Global system interrupts: each is a pin of the I/O APIC, and the first sixteen are those of
    the older controllers too. See `Controller`."""

    name = "gsi"

    def __init__(self, io: IoApic, first: Pic, second: Pic):
        self._io = io
        self._pics = [*(first[n] for n in range(8)), *(second[n] for n in range(8))]

    def set_input(self, number: int, level: bool) -> None:
        """See `Controller.set_input`."""
        if number < len(self._pics):
            self._pics[number](level)
        self._io.set_input(number, level)

    def renew_input(self, number: int) -> None:
        """See `Controller.renew_input`: neither looks at it."""


class StartedCpus:
    """What local APICs do to CPUs; see `Processors`."""

    def __init__(self, cpus: CpuControl):
        self._cpus = cpus

    def init(self, cpu: int) -> None:
        """Stop a CPU until it is started."""
        self._cpus.park(cpu)

    def start(self, cpu: int, page: int) -> None:
        """Start a CPU in real mode at the beginning of a page of 4 KiB, unless it runs already
        (SDM volume 3, "MP Initialization Protocol")."""
        if self._cpus.is_parked(cpu):
            self._cpus.start(cpu, partial(_enter, page))

    def nmi(self, cpu: int) -> None:
        """Interrupt a CPU by what cannot be masked."""
        self._cpus.pulse(cpu, NMI)


def _enter(page: int, cpu: Cpu) -> None:
    cpu.write_register("cs", page << 8)
    cpu.write_register("cs.base", page << 12)
    cpu.write_register("cs.attributes", REAL_MODE_CODE)
    cpu.write_register("rip", 0)
