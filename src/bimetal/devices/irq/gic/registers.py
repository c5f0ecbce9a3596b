"""Registers that say one thing of each of many interrupts: a GICv2's or GICv3's distributor has
them, and each redistributor for the interrupts of its CPU.

Offsets are those of IHI 0048B, table 4-1, and IHI 0069H, tables 12-25 and 12-30, which agree.
"""

from __future__ import annotations

from typing import ClassVar

from bimetal.devices.device import Device
from bimetal.devices.irq.gic.bank import Bank
from bimetal.devices.register import RegArray, Value
from bimetal.memory.access import Access

__all__ = ["BankRegisters"]

PRIORITIES = range(0x400, 0x800)


class BankRegisters(Device):
    """A device with these registers for ``words`` times 32 interrupts. Whose they are, `bank` says;
    what follows from a change, `changed`."""

    access = Access(sizes=(1, 2, 4))
    words: int
    fixed: ClassVar[tuple[str, ...]] = ("words", "priorities", "configs")

    # Those that interrupts need again and again come first.
    IPRIORITYR = RegArray(0x400, "priorities", size=1, writable=0, doc="0 is the most urgent")
    ISENABLER = RegArray(0x100, "words", writable=0, doc="ones enable")
    ICENABLER = RegArray(0x180, "words", writable=0, doc="ones disable")
    ISPENDR = RegArray(0x200, "words", writable=0, doc="ones make pending")
    ICPENDR = RegArray(0x280, "words", writable=0, doc="ones take that back")
    ISACTIVER = RegArray(0x300, "words", writable=0, doc="ones make active")
    ICACTIVER = RegArray(0x380, "words", writable=0, doc="ones take that back")
    IGROUPR = RegArray(0x080, "words", writable=0, doc="the group, 0 or 1")
    ICFGR = RegArray(0xC00, "configs", writable=0, doc="two bits each, 10 for an edge")

    def __init__(self) -> None:
        self.priorities, self.configs = 32 * self.words, 2 * self.words
        super().__init__()

    def bank(self, word: int) -> tuple[Bank, int] | None:
        """The bank that the interrupts from ``32 * word`` on are in, and which of its words they
        are; None if there are none."""
        raise NotImplementedError

    def changed(self, bank: Bank) -> None:
        """Something in ``bank`` is different now."""
        raise NotImplementedError

    def read(self, offset: int, size: int) -> int:
        if size > 1 and self._is_bytes(offset):
            return sum(super(BankRegisters, self).read(offset + n, 1) << 8 * n for n in range(size))
        return super().read(offset, size)

    def write(self, offset: int, size: int, value: int) -> None:
        if size > 1 and self._is_bytes(offset):
            for n in range(size):
                super().write(offset + n, 1, value >> 8 * n & 0xFF)
        else:
            super().write(offset, size, value)

    def _is_bytes(self, offset: int) -> bool:
        """Whether there is a byte for each interrupt, so that words hold four."""
        return offset in PRIORITIES

    def r_IPRIORITYR(self, index: int) -> int:
        found = self.bank(index >> 5)
        if found is None:
            return 0
        bank, word = found
        place = 32 * word + (index & 31)
        return bank.priorities[place] if place < bank.count else 0

    def w_IPRIORITYR(self, index: int, written: Value) -> None:
        found = self.bank(index >> 5)
        if found is not None:
            bank, word = found
            place = 32 * word + (index & 31)
            if place < bank.count:
                bank.priorities[place] = self.priority(written)
                self.changed(bank)

    def priority(self, written: int) -> int:
        """What is kept of a priority."""
        return written

    def r_ISENABLER(self, index: int) -> int:
        return self._read("enabled", index)

    def w_ISENABLER(self, index: int, written: Value) -> None:
        self._set("enabled", index, written)

    def r_ICENABLER(self, index: int) -> int:
        return self._read("enabled", index)

    def w_ICENABLER(self, index: int, written: Value) -> None:
        self._clear("enabled", index, written)

    def r_ISPENDR(self, index: int) -> int:
        return self._read("pending", index)

    def w_ISPENDR(self, index: int, written: Value) -> None:
        self._set("latched", index, written)

    def r_ICPENDR(self, index: int) -> int:
        return self._read("pending", index)

    def w_ICPENDR(self, index: int, written: Value) -> None:
        self._clear("latched", index, written)

    def r_ISACTIVER(self, index: int) -> int:
        return self._read("active", index)

    def w_ISACTIVER(self, index: int, written: Value) -> None:
        self._set("active", index, written)

    def r_ICACTIVER(self, index: int) -> int:
        return self._read("active", index)

    def w_ICACTIVER(self, index: int, written: Value) -> None:
        self._clear("active", index, written)

    def r_IGROUPR(self, index: int) -> int:
        return self._read("group1", index)

    k_IGROUPR = r_IGROUPR

    def w_IGROUPR(self, index: int, written: Value) -> None:
        found = self.bank(index)
        if found is not None:
            bank, word = found
            kept = bank.group1 & ~bank.bits(word, 0xFFFF_FFFF)
            bank.group1 = kept | bank.bits(word, written)
            self.changed(bank)

    def r_ICFGR(self, index: int) -> int:
        found = self.bank(index >> 1)
        if found is None:
            return 0
        bank, word = found
        return bank.config(2 * word + (index & 1))

    k_ICFGR = r_ICFGR

    def w_ICFGR(self, index: int, written: Value) -> None:
        found = self.bank(index >> 1)
        if found is not None:
            bank, word = found
            bank.set_config(2 * word + (index & 1), written)
            self.changed(bank)

    def _read(self, name: str, index: int) -> int:
        found = self.bank(index)
        if found is None:
            return 0
        bank, word = found
        return bank.word(getattr(bank, name), word)

    def _set(self, name: str, index: int, written: int) -> None:
        found = self.bank(index)
        if found is not None and written:
            bank, word = found
            setattr(bank, name, getattr(bank, name) | bank.bits(word, written))
            self.changed(bank)

    def _clear(self, name: str, index: int, written: int) -> None:
        found = self.bank(index)
        if found is not None and written:
            bank, word = found
            bits = bank.bits(word, written)
            setattr(bank, name, getattr(bank, name) & ~bits)
            bank.enabled |= bank.always
            self.changed(bank)
