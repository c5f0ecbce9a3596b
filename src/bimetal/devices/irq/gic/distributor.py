"""What the distributors of all versions have in common: shared interrupts, each with a pin."""

from __future__ import annotations

from typing import ClassVar

from bimetal.devices.irq.gic.bank import PRIVATE, Bank
from bimetal.devices.irq.gic.registers import BankRegisters
from bimetal.devices.irq.pin import Pin

__all__ = ["Distributor"]


class Distributor(BankRegisters):
    """``spis`` shared interrupts for ``cpus`` CPUs: ``gic[32]`` is the pin of the first."""

    saved: ClassVar[tuple[str, ...]] = ("shared", "targets")
    fixed: ClassVar[tuple[str, ...]] = ("spis",)

    def __init__(self, spis: int, cpus: int):
        if spis % 32 or not 0 < spis <= 960:
            raise ValueError(f"{spis} SPIs are no multiple of 32 up to 960")
        self.spis, self.words = spis, spis // 32 + 1
        self.shared = Bank(PRIVATE, spis)
        self.targets = [0] * cpus
        """By CPU, the SPIs that are sent to it, a bit each."""
        super().__init__()

    def __getitem__(self, number: int) -> Pin:
        if not PRIVATE <= number < PRIVATE + self.spis:
            last = PRIVATE + self.spis - 1
            raise IndexError(f"{self.name} has SPIs {PRIVATE} to {last}, not {number}")
        return Pin(self, number)

    def set_input(self, number: int, level: bool) -> None:
        """See `Controller.set_input`."""
        raise NotImplementedError

    def renew_input(self, number: int) -> None:
        """See `Controller.renew_input`: a level that is high is nothing new."""
