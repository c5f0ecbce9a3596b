"""The distributor of a GICv3 with one security state and affinity routing (IHI 0069H, 12.9).

It has the shared interrupts, and sends each to one CPU. What is a CPU's own its redistributor has.
"""

from __future__ import annotations

from collections.abc import Sequence

from bimetal.devices.irq.gic.bank import PRIVATE, Bank, Ready
from bimetal.devices.irq.gic.distributor import Distributor
from bimetal.devices.irq.gic.v3_private import Gicv3Private
from bimetal.devices.register import Reg, RegArray, Value
from bimetal.memory.access import Access

__all__ = ["IDENTITY", "ID_BITS", "Gicv3Distributor", "peripheral_id"]

ID_BITS = 16
"""Bits of an interrupt's number, LPIs included."""
IDENTITY = 0x43B
"""GICx_IIDR: Arm's, as under QEMU."""

ENABLES = 3
AFFINITY_ROUTING, ONE_STATE = 1 << 4, 1 << 6  # of GICD_CTLR: for ever
AFFINITY_3, NOT_ONE_OF_MANY, LPIS = 1 << 24, 1 << 25, 1 << 17  # of GICD_TYPER
ROUTE = 0xFF_8000_0000 | 0xFF_FFFF
"""The bits of GICD_IROUTER: affinity, and "any CPU"."""
ANY_CPU = 1 << 31


def peripheral_id(part: int) -> tuple[int, ...]:
    """The identification registers of a frame of an Arm GICv3 (IHI 0069H, 12.9.25)."""
    return (0x44, 0, 0, 0, part, 0xB4, 0x3B, 0, 0x0D, 0xF0, 0x05, 0xB1)


PARTS = peripheral_id(0x92)


class Gicv3Distributor(Distributor):
    """``spis`` shared interrupts for CPUs, each with its ``privates``: ``gic[32]`` is the pin of
    the first. With ``lpis``, CPUs take those too."""

    kind = "gicd"
    mmio_size = 0x1_0000
    access = Access(sizes=(1, 2, 4, 8))
    fixed = ("privates", "lpis", "_cpu_of")

    IROUTER = RegArray(0x6100, "spis", size=8, writable=0, doc="the affinity of its CPU")
    CTLR = Reg(0x000, writable=ENABLES, ENABLE0=0, ENABLE1=1, ARE=4, DS=6)
    TYPER = Reg(0x004, readonly=True, LINES=(4, 0), LPIS=17, ID_BITS=(23, 19))
    IIDR = Reg(0x008, readonly=True, reset=IDENTITY)
    TYPER2 = Reg(0x00C, readonly=True, doc="of virtual interrupts, which are not there")
    STATUSR = Reg(0x010, writable=0, doc="of accesses; there is nothing to say")
    IGRPMODR = RegArray(0xD00, 32, writable=0, doc="of security, which there is none of")
    NSACR = RegArray(0xE00, 64, writable=0, doc="of security")
    PIDR = RegArray(0xFFD0, len(PARTS), readonly=True)

    def __init__(self, privates: Sequence[Gicv3Private], spis: int, *, lpis: bool = False):
        self.privates, self.lpis = list(privates), lpis
        super().__init__(spis, len(self.privates))
        self._cpu_of = {each.affinity: cpu for cpu, each in enumerate(self.privates)}
        for each in self.privates:
            each.distributor = self
        self._forget()

    def set_input(self, number: int, level: bool) -> None:
        """See `Controller.set_input`."""
        if self.shared.drive(number, level):
            self._changed(1 << number - PRIVATE)

    def reset(self) -> None:
        super().reset()
        self._forget()
        self._changed(-1)

    def _forget(self) -> None:
        self.shared.reset()
        self.targets = [0] * len(self.privates)
        for number in range(self.spis):
            self._route(number, 0)

    # For redistributors and CPU interfaces

    @property
    def enables(self) -> int:
        """The groups that are enabled, a bit each."""
        return int(self.values["CTLR"])

    def ready(self, cpu: int, enables: int) -> Ready | None:
        """The most urgent SPI of these groups for ``cpu``."""
        shared = self.shared
        best = shared.best(shared.of_groups(shared.ready & self.targets[cpu], enables))
        return None if best is None else Ready(*best, shared.group1 >> best[1] - PRIVATE & 1)

    def has(self, number: int) -> bool:
        """Whether there is such an SPI."""
        return PRIVATE <= number < PRIVATE + self.spis

    def acknowledge(self, number: int) -> None:
        """A CPU takes an SPI."""
        self.shared.acknowledge(number)
        self._changed(1 << number - PRIVATE)

    def deactivate(self, number: int) -> None:
        """A CPU is done with an SPI."""
        self.shared.deactivate(number)
        self._changed(1 << number - PRIVATE)

    def send(self, affinities: Sequence[int], number: int, group: int) -> None:
        """An SGI of that group for the CPUs of these affinities."""
        for affinity in affinities:
            cpu = self._cpu_of.get(affinity)
            if cpu is not None:
                self.privates[cpu].receive(number, group)

    @property
    def affinities(self) -> list[int]:
        """Those of all CPUs."""
        return list(self._cpu_of)

    # Registers

    def bank(self, word: int) -> tuple[Bank, int] | None:
        return None if word == 0 else (self.shared, word - 1)

    def changed(self, bank: Bank) -> None:
        self._changed(-1)

    def _changed(self, interrupts: int) -> None:
        """Of these SPIs, a bit each, something may be different."""
        for private, targets in zip(self.privates, self.targets, strict=True):
            if targets & interrupts:
                private.listener()

    def r_CTLR(self) -> int:
        return self.enables | AFFINITY_ROUTING | ONE_STATE

    k_CTLR = r_CTLR

    def w_CTLR(self, written: Value) -> None:
        for each in self.privates:
            each.listener()

    def r_TYPER(self) -> int:
        lpis = LPIS if self.lpis else 0
        return self.words - 1 | lpis | ID_BITS - 1 << 19 | AFFINITY_3 | NOT_ONE_OF_MANY

    def r_PIDR(self, index: int) -> int:
        return PARTS[index]

    def w_IROUTER(self, index: int, written: Value) -> None:
        # "Any CPU" is not there (No1N), so stays 0.
        self.IROUTER[index] = written & ROUTE & ~ANY_CPU
        self._route(index, self.IROUTER[index])
        for each in self.privates:
            each.listener()

    def _route(self, index: int, route: int) -> None:
        """Route an SPI to the CPU with this affinity; to none if there is no such CPU."""
        bit, chosen = 1 << index, self._cpu_of.get(route)
        for cpu, targets in enumerate(self.targets):
            self.targets[cpu] = targets & ~bit | (bit if cpu == chosen else 0)
