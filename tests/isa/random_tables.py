"""Translation tables of AArch64 at random: registers, tables, and addresses to look up in them."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field

from .arm_machine import BASE

__all__ = [
    "ADDRESSES", "CASE", "CASES_AT", "CODE_AT", "FOUND_AT", "REGISTERS", "ROOM", "TABLES_AT",
    "Case",
]  # fmt: skip

REGISTERS = ("tcr_el1", "ttbr0_el1", "ttbr1_el1", "mair_el1", "sctlr_el1", "vtcr_el2", "vttbr_el2",
             "hcr_el2")  # fmt: skip
CASE = 64 * 8
"""Bytes of a case: the registers, PSTATE.PAN, how many addresses, and these."""
ADDRESSES = 40
CODE_AT = BASE + 0x20_0000
"""A second copy, since QEMU has its device tree where memory begins."""
CASES_AT, FOUND_AT, TABLES_AT = CODE_AT + 0x1_0000, CODE_AT + 0x4_0000, CODE_AT + 0x20_0000
ROOM = 0x20_0000
"""Bytes for the tables of a case."""


@dataclass
class Stage:
    """The tables of a stage with one granule: filled as addresses are asked for."""

    case: Case
    grain: int
    bits: int
    first: int
    wide: bool
    output: int
    second: bool
    tables: dict[tuple[int, int], int] = field(default_factory=dict)
    below: dict[int, int] = field(default_factory=dict)
    """The table that a descriptor leads to."""

    @property
    def stride(self) -> int:
        return self.grain - 3

    def shift(self, level: int) -> int:
        return self.grain + self.stride * (3 - level)

    def leaf_at(self, level: int) -> bool:
        """Whether a leaf may be at a level: what QEMU does not look at."""
        if level in (2, 3):
            return True
        if level == 1:
            return self.grain == 12 or (self.grain == 14 and self.wide) or (
                self.grain == 16 and self.output == 52)  # fmt: skip
        return level == 0 and self.grain == 12 and self.wide

    def encoded(self, address: int) -> int:
        """An address as a descriptor has it."""
        low = address & (1 << 48) - 1
        if self.wide:
            return address & (1 << 50) - 1 | (address >> 50) << 8
        if self.grain == 16 and self.output == 52:
            return low | (address >> 48) << 12
        return low

    def attributes(self, level: int) -> int:
        """What stands in a leaf beside the address."""
        chance = self.case.chance
        keep = 3 << 50 if self.wide else 0
        value = (
            chance.getrandbits(64) & (0x0078_0000_0000_0CFC | (0 if self.wide else 0x300)) & ~keep
        )
        value |= chance.getrandbits(1) << 51
        if chance.random() < 0.8:
            value |= 1 << 10
        if not self.second:
            value &= ~(1 << 5)
        elif self.case.plain:
            value |= 0x3C
        elif value & 0x30 and not value & 0xC:
            value |= 4  # such types are reserved
        return value | (3 if level == 3 else 1)

    def fill(self, address: int) -> None:
        """Have descriptors on the way of an address."""
        chance, inside = self.case.chance, address & (1 << self.bits) - 1
        table = self.table(self.first, 0)
        for level in range(self.first, 4):
            shift, slot = self.shift(level), self.slot(table, inside, level)
            if slot in self.below:
                table = self.below[slot]
                continue
            if self.case.word(slot):
                return
            leaf = level == 3 or (self.leaf_at(level) and chance.random() < 0.15)
            kind = chance.random()
            if kind < 0.03:
                self.case.put(slot, chance.getrandbits(63) << 1)
                return
            if leaf:
                target = self.case.target(self, inside, 1 << shift)
                self.case.put(slot, self.encoded(target) | self.attributes(level))
                return
            table = self.below[slot] = self.table(level + 1, inside >> shift)
            takes = chance.getrandbits(5) << 59 if chance.random() < 0.3 else 0
            self.case.put(slot, self.encoded(table) | (0 if self.second else takes) | 3)

    def map(self, address: int, target: int, rights: int) -> None:
        """Map a page, by tables that nothing at random comes into but by itself."""
        inside = address & (1 << self.bits) - 1
        table = self.table(self.first, 0)
        for level in range(self.first, 3):
            slot = self.slot(table, inside, level)
            if slot not in self.below:
                key = level + 1, inside >> self.shift(level) | 1 << 60
                self.below[slot] = self.tables[key] = self.case.room(1 << self.grain)
                self.case.put(slot, self.encoded(self.below[slot]) | 3)
            table = self.below[slot]
        self.case.put(self.slot(table, inside, 3), self.encoded(target) | rights | 3)

    def slot(self, table: int, inside: int, level: int) -> int:
        """Where an address's descriptor stands in a table of this level."""
        index = inside >> self.shift(level)
        if level > self.first:
            index &= (1 << self.stride) - 1
        return table + 8 * index

    def table(self, level: int, prefix: int) -> int:
        """The table of a part of the range; there are few, so that ways meet."""
        key = level, 0 if self.grain == 16 else prefix % 2
        if key not in self.tables:
            self.tables[key] = self.case.room(1 << self.grain)
        return self.tables[key]


class Case:
    """Registers, tables and addresses."""

    def __init__(self, chance: random.Random, memory: bytearray, start: int, size: int = ROOM):
        """Tables stand in ``size`` bytes from ``start`` on."""
        self.chance, self.memory = chance, memory
        self.start = self.next_room = start
        self.end = start + size
        self.pages: list[int] = []
        self.registers = dict.fromkeys(REGISTERS, 0)
        self.registers["hcr_el2"] = 1 << 31
        self.addresses: list[int] = []
        self.pan = 0
        self.plain = False
        """Whether stage 2 has memory that is cached alone."""
        self.second: Stage | None = None
        self.stages: list[Stage] = []
        self.make()

    def make(self) -> None:
        """Make registers, tables and addresses."""
        chance = self.chance
        self.pan = chance.getrandbits(1)
        if chance.random() < 0.5:
            self.second = self.stage_2()
        self.ranges()
        for _ in range(ADDRESSES):
            stage = chance.choice(self.stages)
            address = self.address(stage, stage is self.stages[1])
            self.addresses.append(address)
            stage.fill(address)
        if self.second:
            self.map_all()

    def ranges(self) -> None:
        """The registers of stage 1, with its two ranges."""
        chance = self.chance
        wide = chance.random() < 0.4
        size = 6 if wide or chance.random() < 0.4 else chance.randrange(7)
        tcr = size << 32 | wide << 59
        for high in (False, True):
            stage, bits = self.stage(chance, wide, size, high)
            tcr |= bits
            self.stages.append(stage)
            root = stage.table(stage.first, 0)
            at = 1 << 48 if chance.random() < 0.5 else 0
            self.registers[f"ttbr{high:d}_el1"] = root | at | chance.getrandbits(1)
        for bit, often in ((37, 0.3), (38, 0.3), (39, 0.3), (40, 0.5), (41, 0.3), (42, 0.3),
                           (55, 0.2), (56, 0.2), (7, 0.05), (23, 0.05)):  # fmt: skip
            tcr |= (chance.random() < often) << bit
        self.registers["tcr_el1"] = tcr | chance.getrandbits(2) << 12 | chance.getrandbits(2) << 28
        self.registers["mair_el1"] = int.from_bytes(
            bytes(chance.choice((0x00, 0x04, 0x44, 0xFF, 0xBB, 0x4F)) for _ in range(8)), "little"
        )
        self.registers["sctlr_el1"] = 0x30D0_0800 | (chance.random() < 0.97) | (
            (chance.random() < 0.2) << 19)  # fmt: skip

    def stage(self, chance: random.Random, wide: bool, size: int, high: bool) -> tuple[Stage, int]:
        """One of the ranges, and what TCR says of it."""
        grain = chance.choice((12, 14, 16))
        output = (32, 36, 40, 42, 44, 48, 52)[size]
        wide = wide and grain != 16
        if output == 52 and not wide and grain != 16:
            output = 48
        least = 12 if wide or grain == 16 else 16
        t_size = chance.randrange(least, 48 if grain == 16 else 49)
        if chance.random() < 0.05:
            t_size = chance.randrange(64)
        bits = min(max(64 - t_size, 16 if grain < 16 else 17), 52)
        levels = -(-(bits - grain) // (grain - 3))
        code = {12: 2, 14: 1, 16: 3}[grain] if high else {12: 0, 14: 2, 16: 1}[grain]
        stage = Stage(self, grain, bits, 4 - levels, wide, output, second=False)
        return stage, t_size << (16 if high else 0) | code << (30 if high else 14)

    def stage_2(self) -> Stage:
        chance = self.chance
        grain, wide = chance.choice((12, 14, 16)), chance.random() < 0.3
        self.registers["hcr_el2"] |= 1 | (chance.random() < 0.3) << 2
        size = 6 if wide else chance.choice((5, 5, 5, 4, 6))
        wide = wide and grain != 16
        output = (32, 36, 40, 42, 44, 48, 52)[size]
        if output == 52 and not wide and grain != 16:
            output = 48
        # With 16 KiB QEMU begins at level 1, with 16 tables at most.
        bits = chance.randrange(32, min(output, 51 if grain == 14 else 52) + 1)
        first = 4 - -(-(bits - grain) // (grain - 3))
        most = bits - 4 if chance.random() < 0.4 else bits  # tables side by side
        lowest = 1 if grain > 12 else 0 - wide
        first = max(first, lowest, 4 - -(-(most - grain) // (grain - 3)))
        codes = {12: {2: 0, 1: 1, 0: 2, 3: 3, -1: 0}, 14: {3: 0, 2: 1, 1: 2, 0: 3},
                 16: {3: 0, 2: 1, 1: 2}}[grain]  # fmt: skip
        code = codes[first]
        vtcr = (64 - bits) | code << 6 | {12: 0, 14: 2, 16: 1}[grain] << 14 | size << 16 | 1 << 31
        vtcr |= wide << 32 | (wide and first == -1) << 33
        vtcr |= (chance.random() < 0.3) << 21 | (chance.random() < 0.3) << 22
        stage = Stage(self, grain, bits, first, wide, output, second=True)
        self.registers["vtcr_el2"] = vtcr
        root = stage.tables[first, 0] = self.room(16 << grain)
        self.registers["vttbr_el2"] = root
        return stage

    def map_all(self) -> None:
        """Have stage 2 map the tables to themselves, most of the time, and pages anywhere."""
        second = self.second
        assert second is not None
        for place in range(self.start, self.end, 1 << second.grain):
            if self.chance.random() < 0.995:
                second.map(place, place, 0x4FC if second.wide else 0x7FC)
        for page in self.pages:
            second.fill(page & (1 << second.bits) - 1)

    def target(self, stage: Stage, inside: int, size: int) -> int:
        """Where a leaf of ``size`` bytes for an address leads to."""
        chance = self.chance
        target = chance.getrandbits(stage.output)
        if not stage.second and chance.random() < 0.7:
            target = self.intermediate()
        if chance.random() < 0.05:
            target = chance.getrandbits(52)
        return target & ~(size - 1)

    def intermediate(self) -> int:
        """A page that stage 2 will map, if there is one."""
        page = self.chance.getrandbits(self.second.bits if self.second else 30) & ~0xFFFF
        self.pages.append(page)
        return page

    def address(self, stage: Stage, high: bool) -> int:
        chance = self.chance
        inside = chance.getrandbits(stage.bits)
        if chance.random() < 0.6:  # near others
            for level in range(max(stage.first, 0), 4):
                shift = stage.shift(level)
                inside = inside & ~(((1 << stage.stride) - 4) << shift)
        inside &= (1 << stage.bits) - 1
        address = inside | ((-1 << stage.bits) & (1 << 64) - 1 if high else 0)
        if chance.random() < 0.1:
            address ^= chance.getrandbits(8) << 56
        if chance.random() < 0.05:
            address ^= 1 << chance.randrange(64)
        return address

    def room(self, size: int) -> int:
        """Memory for a table, aligned to its size."""
        place = -(-self.next_room // size) * size
        self.next_room = place + size
        assert self.next_room <= self.end, "a case with many tables"
        return place

    def word(self, at: int) -> int:
        return int(struct.unpack_from("<Q", self.memory, at - BASE)[0])

    def put(self, at: int, word: int) -> None:
        struct.pack_into("<Q", self.memory, at - BASE, word)

    def write(self, at: int) -> None:
        words = (*self.registers.values(), self.pan, len(self.addresses), *self.addresses)
        for n, word in enumerate(words):
            self.put(at + 8 * n, word)
