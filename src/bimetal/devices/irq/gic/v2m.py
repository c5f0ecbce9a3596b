"""The GICv2m frame: message-signalled interrupts for a GICv2 (Arm, Server Base System Architecture
2.3, appendix E). A write of an SPI's number lets that SPI's input rise for a moment."""

from __future__ import annotations

from collections.abc import Mapping

from bimetal.base.errors import GuestError
from bimetal.devices.device import Device, Property
from bimetal.devices.output import Outs
from bimetal.devices.register import Reg, Value
from bimetal.memory.access import Access

__all__ = ["Gicv2m"]

MESSAGE = 4
"""Bytes of a message."""


class Gicv2m(Device):
    """A frame for ``count`` SPIs, the first of which is interrupt ``first``; ``spis[n]`` leads to
    the n-th."""

    kind = "v2m"
    compatible = ("arm,gic-v2m-frame",)
    access = Access(sizes=(4,))

    TYPER = Reg(0x008, readonly=True, COUNT=(9, 0), FIRST=(25, 16))
    SETSPI_NS = Reg(0x040, writable=0, doc="an SPI")
    IIDR = Reg(0xFCC, readonly=True)

    fixed = ("first", "count")

    spis = Outs("count")

    def __init__(self, first: int, count: int):
        self.first, self.count = first, count
        super().__init__()

    def properties(self) -> Mapping[str, Property]:
        return {"msi-controller": None}

    def r_TYPER(self) -> int:
        return self.first << 16 | self.count

    def take_message(self, requester: int, offset: int, word: int) -> None:
        """See `TakesMessages`; whose message it is does not matter here."""
        self.write(offset, MESSAGE, word)

    def w_SETSPI_NS(self, written: Value) -> None:
        number = (written & 0x3FF) - self.first
        if not 0 <= number < self.count:
            raise GuestError(f"SETSPI_NS has no SPI {written & 0x3FF}")
        self.spis[number](True)
        self.spis[number](False)
