"""The interrupts that are a CPU's own in a GICv3: the second frame of its redistributor (IHI 0069H,
12.11); and what waits for the CPU altogether."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bimetal.devices.irq.gic.bank import PRIVATE, SGI_BITS, SGIS, Bank, Ready
from bimetal.devices.irq.gic.registers import BankRegisters
from bimetal.devices.register import Reg

if TYPE_CHECKING:
    from bimetal.devices.irq.gic.v3_distributor import Gicv3Distributor
    from bimetal.devices.irq.gic.v3_redistributor import Gicv3Redistributor

__all__ = ["Gicv3Private"]

LPI_GROUP = 1


class Gicv3Private(BankRegisters):
    """SGIs and PPIs of CPU ``cpu``, whose fields of MPIDR_EL1 are ``affinity`` as registers of the
    GIC have them (bits 39 to 32, and 23 to 0). ``listener`` is called when something may wait."""

    kind = "gicr_private"
    mmio_size = 0x1_0000
    words = 1
    saved = ("own",)
    fixed = ("cpu", "affinity", "distributor", "redistributor", "listener")

    IGRPMODR0 = Reg(0xD00, writable=0, doc="of security, which there is none of")
    NSACR = Reg(0xE00, writable=0, doc="of security")

    def __init__(self, cpu: int, affinity: int):
        self.cpu, self.affinity = cpu, affinity
        self.own = Bank(0, PRIVATE, locked_edge=SGI_BITS)
        self.distributor: Gicv3Distributor | None = None
        self.redistributor: Gicv3Redistributor | None = None
        self.listener: Callable[[], None] = lambda: None
        super().__init__()

    def input(self, number: int) -> Callable[[bool], None]:
        """The input of PPI ``number`` (16 to 31)."""
        if not SGIS <= number < PRIVATE:
            raise IndexError(f"PPIs are 16 to 31, not {number}")

        def drive(level: bool) -> None:
            if self.own.drive(number, level):
                self.listener()

        return drive

    def receive(self, number: int, group: int) -> None:
        """An SGI has been sent here; of another group than it is here, it is lost (12.2.20)."""
        if self.own.group1 >> number & 1 == group:
            self.own.latched |= 1 << number
            self.listener()

    def reset(self) -> None:
        super().reset()
        self.own.reset()
        self.listener()

    # For the CPU interface

    def ready(self, enables: int) -> Ready | None:
        """The most urgent interrupt for the CPU, of groups that are enabled here and there."""
        distributor, own = self.distributor, self.own
        assert distributor is not None
        enables &= distributor.enables
        best = own.best(own.of_groups(own.ready, enables))
        ready = None if best is None else Ready(*best, own.group1 >> best[1] & 1)
        shared = distributor.ready(self.cpu, enables)
        if shared is not None and (ready is None or shared < ready):
            ready = shared
        if self.redistributor is not None and enables >> LPI_GROUP & 1:
            lpi = self.redistributor.lpis.best
            if lpi is not None and (ready is None or lpi < ready[:2]):
                ready = Ready(*lpi, LPI_GROUP)
        return ready

    def acknowledge(self, number: int) -> None:
        """The CPU, which looks again then, takes an interrupt that is ready."""
        assert self.distributor is not None
        if number < PRIVATE:
            self.own.acknowledge(number)
        elif self.distributor.has(number):
            self.distributor.acknowledge(number)
        elif self.redistributor is not None:
            self.redistributor.lpis.clear(number)

    def deactivate(self, number: int) -> None:
        """The CPU, which looks again then, is done with an interrupt; LPIs are never active."""
        assert self.distributor is not None
        if number < PRIVATE:
            self.own.deactivate(number)
        elif self.distributor.has(number):
            self.distributor.deactivate(number)

    # Registers

    def bank(self, word: int) -> tuple[Bank, int] | None:
        return self.own, 0

    def changed(self, bank: Bank) -> None:
        self.listener()
