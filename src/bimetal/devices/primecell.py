"""What all of Arm's PrimeCells have: identification at the end of their registers."""

from __future__ import annotations

from typing import ClassVar

from bimetal.devices.device import Device
from bimetal.devices.register import RegArray, Value
from bimetal.memory.access import Access

__all__ = ["MaskedCell", "PrimeCell"]

CELL_ID = (0x0D, 0xF0, 0x05, 0xB1)


class PrimeCell(Device):
    """A peripheral of 4 KiB that says what it is by ``peripheral_id``, GPIO's 0x061 for example,
    and its ``revision``."""

    mmio_size = 0x1000
    access = Access(sizes=(1, 2, 4))
    peripheral_id: ClassVar[int]
    revision: ClassVar[int] = 0

    ID = RegArray(0xFE0, 8, readonly=True, doc="PeriphID, then PCellID")

    def r_ID(self, index: int) -> int:
        part, designer = self.peripheral_id, 0x41
        peripheral = (part & 0xFF, designer << 4 & 0xF0 | part >> 8, self.revision << 4 | 4, 0)
        return (*peripheral, *CELL_ID)[index]


class MaskedCell(PrimeCell):
    """One whose interrupts, those ``raised``, go out where IMSC lets them: told of by RIS and MIS,
    cleared by ICR, which the device declares."""

    IMSC: int
    raised: int

    def w_IMSC(self, written: Value) -> None:
        self._update()

    def r_RIS(self) -> int:
        return self.raised

    def r_MIS(self) -> int:
        return self.raised & self.IMSC

    def w_ICR(self, written: Value) -> None:
        self.raised &= ~written
        self._update()

    def _update(self) -> None:
        """Renew the output."""
        raise NotImplementedError
