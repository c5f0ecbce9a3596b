"""The distributor of a GICv2 without security extensions (IHI 0048B, 4.3).

Registers of SGIs and PPIs are there once for each CPU, and a CPU sees its own: who makes an access
is told by the `Initiator`. Which SGIs a CPU sent to another is kept for each pair.
"""

from __future__ import annotations

from collections.abc import Callable

from bimetal.base.errors import GuestError
from bimetal.devices.irq.gic.bank import PRIVATE, SGI_BITS, SGIS, Bank, Ready, ones
from bimetal.devices.irq.gic.distributor import Distributor
from bimetal.devices.register import Reg, RegArray, Value
from bimetal.memory.initiator import Initiator

__all__ = ["Gicv2Distributor"]

MOST_CPUS = 8
BYTES = range(0x400, 0xC00)
SGI_BYTES = range(0xF10, 0xF30)

# Peripheral identification of a GIC-400 (DDI 0471, 3.2): revision 2 of the architecture.
IDENTITY = (0x04, 0, 0, 0, 0x90, 0xB4, 0x2B, 0, 0x0D, 0xF0, 0x05, 0xB1)


class Gicv2Distributor(Distributor):
    """Interrupts of ``cpus`` CPUs, and ``spis`` shared ones: ``gic[32]`` is the pin of the first,
    ``gic.private(cpu, n)`` the input of PPI n of a CPU.

    ``listener`` is told the number of a CPU for which something may have changed, or None for all.
    """

    kind = "gicd"
    mmio_size = 0x1000
    saved = ("own", "senders")
    fixed = ("cpus", "initiator", "listener", "_cpu_of")

    ITARGETSR = RegArray(0x800, "priorities", size=1, writable=0, doc="a bit for each CPU")
    CTLR = Reg(0x000, writable=3, ENABLE0=0, ENABLE1=1)
    TYPER = Reg(0x004, readonly=True, LINES=(4, 0), CPUS=(7, 5))
    IIDR = Reg(0x008, readonly=True, reset=0x43B, doc="Arm's, as under QEMU")
    SGIR = Reg(0xF00, writable=0, NUMBER=(3, 0), TARGETS=(23, 16), FILTER=(25, 24))
    CPENDSGIR = RegArray(0xF10, SGIS, size=1, writable=0, doc="by source")
    SPENDSGIR = RegArray(0xF20, SGIS, size=1, writable=0, doc="by source")
    PIDR = RegArray(0xFD0, len(IDENTITY), readonly=True)

    def __init__(self, cpus: int, spis: int, initiator: Initiator):
        if not 1 <= cpus <= MOST_CPUS:
            raise ValueError(f"a GICv2 has 1 to {MOST_CPUS} CPUs, not {cpus}")
        self.cpus, self.initiator = cpus, initiator
        self.listener: Callable[[int | None], None] = lambda cpu: None
        # SGIs are edges and always enabled.
        self.own = [Bank(0, PRIVATE, always=SGI_BITS, locked_edge=SGI_BITS) for _ in range(cpus)]
        self._cpu_of = {id(bank): cpu for cpu, bank in enumerate(self.own)}
        self.senders = [[0] * SGIS for _ in range(cpus)]
        """By receiver and SGI, the CPUs that have sent it, a bit each."""
        super().__init__(spis, cpus)
        self._forget()

    def private(self, cpu: int, number: int) -> Callable[[bool], None]:
        """The input of PPI ``number`` (16 to 31) of ``cpu``."""
        if not SGIS <= number < PRIVATE:
            raise IndexError(f"PPIs are 16 to 31, not {number}")
        bank = self.own[cpu]

        def drive(level: bool) -> None:
            if bank.drive(number, level):
                self.listener(cpu)

        return drive

    def set_input(self, number: int, level: bool) -> None:
        """See `Controller.set_input`."""
        if self.shared.drive(number, level):
            self.listener(None)

    def reset(self) -> None:
        super().reset()
        self._forget()
        self.listener(None)

    def _forget(self) -> None:
        for bank in (*self.own, self.shared):
            bank.reset()
        self.senders = [[0] * SGIS for _ in range(self.cpus)]
        # A single CPU gets them all (4.3.12).
        self.targets = [self.shared.mask if self.cpus == 1 else 0] * self.cpus

    # For CPU interfaces

    def ready(self, cpu: int) -> Ready | None:
        """The most urgent interrupt for ``cpu`` of the groups that are enabled here."""
        enables, own, shared = int(self.CTLR), self.own[cpu], self.shared
        best = own.best(own.of_groups(own.ready, enables))
        other = shared.best(shared.of_groups(shared.ready & self.targets[cpu], enables))
        if best is None or (other is not None and other[0] < best[0]):
            best = other
        if best is None:
            return None
        priority, number = best
        group, sender = self.group(cpu, number), 0
        if number < SGIS and (senders := self.senders[cpu][number]):
            sender = (senders & -senders).bit_length() - 1
        return Ready(priority, number, group, sender)

    def group(self, cpu: int, number: int) -> int:
        """The group of an interrupt."""
        bank = self._bank_of(cpu, number)
        return bank.group1 >> number - bank.first & 1

    def acknowledge(self, cpu: int, number: int, sender: int) -> None:
        """``cpu`` takes the interrupt; another sender's SGI stays pending."""
        bank = self._bank_of(cpu, number)
        bank.acknowledge(number)
        if number < SGIS:
            self.senders[cpu][number] &= ~(1 << sender)
            if self.senders[cpu][number]:
                bank.latched |= 1 << number
        self.changed(bank)

    def deactivate(self, cpu: int, number: int) -> None:
        """``cpu`` is done with the interrupt. Raises `GuestError` if there is none."""
        if number >= PRIVATE + self.spis:
            raise GuestError(f"deactivation of interrupt {number}, which is not there")
        bank = self._bank_of(cpu, number)
        bank.deactivate(number)
        self.changed(bank)

    def _bank_of(self, cpu: int, number: int) -> Bank:
        return self.own[cpu] if number < PRIVATE else self.shared

    # Registers

    def bank(self, word: int) -> tuple[Bank, int] | None:
        return (self.own[self.initiator.cpu], 0) if word == 0 else (self.shared, word - 1)

    def changed(self, bank: Bank) -> None:
        self.listener(self._cpu_of.get(id(bank)))

    def _is_bytes(self, offset: int) -> bool:
        return offset in BYTES or offset in SGI_BYTES

    def w_CTLR(self, written: Value) -> None:
        self.listener(None)

    def r_TYPER(self) -> int:
        return self.words - 1 | self.cpus - 1 << 5

    def r_PIDR(self, index: int) -> int:
        return IDENTITY[index]

    def w_ISPENDR(self, index: int, written: Value) -> None:
        """SGIs are made pending by SPENDSGIR alone (4.3.7)."""
        super().w_ISPENDR(index, _no_sgis(index, written))

    def w_ICPENDR(self, index: int, written: Value) -> None:
        super().w_ICPENDR(index, _no_sgis(index, written))

    def r_ITARGETSR(self, index: int) -> int:
        if self.cpus == 1:
            return 0
        if index < PRIVATE:
            return 1 << self.initiator.cpu
        bit = 1 << index - PRIVATE
        return sum(1 << cpu for cpu, targets in enumerate(self.targets) if targets & bit)

    def w_ITARGETSR(self, index: int, written: Value) -> None:
        if self.cpus == 1 or index < PRIVATE:
            return
        bit = 1 << index - PRIVATE
        for cpu in range(self.cpus):
            chosen = bit if written >> cpu & 1 else 0
            self.targets[cpu] = self.targets[cpu] & ~bit | chosen
        self.listener(None)

    def w_SGIR(self, written: Value) -> None:
        sender = self.initiator.cpu
        everybody = (1 << self.cpus) - 1
        match written.FILTER:
            case 0:
                targets = written.TARGETS & everybody
            case 1:
                targets = everybody & ~(1 << sender)
            case 2:
                targets = 1 << sender
            case _:
                raise GuestError("SGIR with a reserved filter")
        for cpu in ones(targets):
            self._send(cpu, written.NUMBER, 1 << sender)

    def r_SPENDSGIR(self, index: int) -> int:
        return self.senders[self.initiator.cpu][index]

    r_CPENDSGIR = r_SPENDSGIR

    def w_SPENDSGIR(self, index: int, written: Value) -> None:
        self._send(self.initiator.cpu, index, written & (1 << self.cpus) - 1)

    def w_CPENDSGIR(self, index: int, written: Value) -> None:
        cpu = self.initiator.cpu
        self.senders[cpu][index] &= ~written
        if not self.senders[cpu][index]:
            self.own[cpu].latched &= ~(1 << index)
        self.listener(cpu)

    def _send(self, cpu: int, number: int, senders: int) -> None:
        self.senders[cpu][number] |= senders
        if self.senders[cpu][number]:
            self.own[cpu].latched |= 1 << number
        self.listener(cpu)


def _no_sgis(index: int, written: int) -> Value:
    return Value(written if index else written & ~SGI_BITS)
