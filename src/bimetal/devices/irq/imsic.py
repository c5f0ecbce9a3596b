"""The RISC-V incoming MSI controller (RISC-V Advanced Interrupt Architecture 1.0, chapter 3).

Each hart has an interrupt file for each privilege level, which keeps the identities of the messages
that are pending and enabled. Messages are words written to the file's page. The hart reaches the
rest of it by CSRs; `ImsicHart` has those of both levels. The lowest identity is the most urgent.
There are no files for guests, and no delivery from an APLIC to the hart (eidelivery 0x40000000).
"""

from __future__ import annotations

from collections.abc import Mapping

from bimetal.devices.device import Device, Property
from bimetal.devices.output import Outs
from bimetal.devices.register import RegArray, Value
from bimetal.memory.access import Access

__all__ = ["PAGE", "Imsic", "ImsicHart"]

PAGE = 0x1000
IDENTITIES = 255
IMPLEMENTED = (1 << IDENTITIES + 1) - 2
TOP, DELIVERY, THRESHOLD, PENDING, ENABLED = 0, 0x70, 0x72, 0x80, 0xC0
"""What selects a register of a file (3.8); 0 is none of these: the CSR reaches the top itself."""
WORD, HALF = (1 << 64) - 1, 32
"""A register of a row has 64 bits; each number stands for 32."""
CSRS, MACHINE_LEVEL = 1 << 12, 9
"""How many CSRs there are, and the bit in their numbers that those of M-mode have set."""
MESSAGE = 4
"""Bytes of a message."""
IPI = 1
"""The identity that Linux takes for its own interrupts between harts."""


class Imsic(Device):
    """The interrupt files of one privilege level, of ``harts`` harts, a page each; ``notify[h]``
    leads to hart h."""

    kind = node_name = "imsics"
    compatible = ("riscv,imsics",)
    access = Access(sizes=(4,))
    saved = ("pending", "enabled", "delivery", "threshold")
    fixed = ("harts",)

    SETEIPNUM_LE = RegArray(0x0, "harts", stride=PAGE, writable=0, doc="an identity is pending")
    SETEIPNUM_BE = RegArray(0x4, "harts", stride=PAGE, writable=0, doc="big-endian: ignored")

    notify = Outs("harts")

    def __init__(self, harts: int):
        self.harts = harts
        self.mmio_size = harts * PAGE
        self._empty()
        super().__init__()

    def _empty(self) -> None:
        harts = self.harts
        self.pending, self.enabled = [0] * harts, [0] * harts
        self.delivery, self.threshold = [0] * harts, [0] * harts

    def reset(self) -> None:
        super().reset()
        self._empty()
        for hart in range(self.harts):
            self._notify(hart)

    def properties(self) -> Mapping[str, Property]:
        return {
            "interrupt-controller": None,
            "#interrupt-cells": 0,
            "msi-controller": None,
            "riscv,num-ids": IDENTITIES,
            "riscv,ipi-id": IPI,
        }

    # Messages

    def take_message(self, requester: int, offset: int, word: int) -> None:
        """See `TakesMessages`; whose message it is does not matter here."""
        self.write(offset, MESSAGE, word)

    def w_SETEIPNUM_LE(self, hart: int, written: Value) -> None:
        if 1 <= written <= IDENTITIES:
            self.pending[hart] |= 1 << written
            self._notify(hart)

    # The hart's side

    def top(self, hart: int) -> int:
        """The identity that is to be served first, 0 if there is none (3.9)."""
        ready = self.pending[hart] & self.enabled[hart]
        if self.threshold[hart]:
            ready &= (1 << self.threshold[hart]) - 1
        return (ready & -ready).bit_length() - 1 if ready else 0

    def claim(self, hart: int) -> None:
        """`top` is pending no more."""
        self.pending[hart] &= ~(1 << self.top(hart))
        self._notify(hart)

    def register(self, hart: int, number: int) -> int:
        """The register that ``number`` selects (3.8); those that are reserved are zero."""
        if number >= ENABLED:
            return self.enabled[hart] >> HALF * (number - ENABLED) & WORD
        if number >= PENDING:
            return self.pending[hart] >> HALF * (number - PENDING) & WORD
        if number == DELIVERY:
            return self.delivery[hart]
        return self.threshold[hart] if number == THRESHOLD else 0

    def set_register(self, hart: int, number: int, value: int) -> None:
        """Write that register."""
        if number >= ENABLED:
            self._set_word(self.enabled, hart, number - ENABLED, value)
        elif number >= PENDING:
            self._set_word(self.pending, hart, number - PENDING, value)
        elif number == DELIVERY:
            self.delivery[hart] = value & 1
        elif number == THRESHOLD:
            self.threshold[hart] = value & IDENTITIES
        self._notify(hart)

    def _set_word(self, row: list[int], hart: int, half: int, value: int) -> None:
        shift = HALF * half
        row[hart] = (row[hart] & ~(WORD << shift) | value << shift) & IMPLEMENTED

    def _notify(self, hart: int) -> None:
        line, level = self.notify[hart], bool(self.delivery[hart] and self.top(hart))
        if line.high != level:
            line(level)


class ImsicHart(Device):
    """The registers of a hart's interrupt files, as CSRs reach them: one of eight bytes for each
    number of `RegisterAccess`."""

    kind = "imsic_hart"
    mmio_size = 8 * CSRS << 8
    access = Access(sizes=(8,))
    fixed = ("levels", "hart")

    def __init__(self, machine: Imsic, supervisor: Imsic, hart: int):
        self.levels, self.hart = (supervisor, machine), hart
        super().__init__()

    def read(self, offset: int, size: int) -> int:
        file, number = self._reached(offset)
        if number == TOP:
            identity = file.top(self.hart)
            return identity << 16 | identity
        return file.register(self.hart, number)

    def write(self, offset: int, size: int, value: int) -> None:
        file, number = self._reached(offset)
        if number == TOP:
            file.claim(self.hart)
        else:
            file.set_register(self.hart, number, value)

    def _reached(self, offset: int) -> tuple[Imsic, int]:
        """The file, and what selects its register; `TOP` for the CSR of the top interrupt."""
        selected, csr = divmod(offset // 8, CSRS)
        return self.levels[csr >> MACHINE_LEVEL & 1], selected
