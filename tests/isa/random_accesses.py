"""Accesses of AArch64 at random: tables, whose accesses they are, and what each of them does.

Beside the tables of `random_tables`, a page of code is mapped, from which the accesses are made at
EL0, EL1 and EL2, and the exceptions of EL1 are passed on. Addresses lead into a piece of memory of
their own, or to where nothing is.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass

from .arm_machine import BASE
from .random_tables import Case, Stage

__all__ = [
    "CASE", "CASES_AT", "CODE_AT", "FOUND_AT", "KINDS", "MEMORY", "PAGE_AT", "REGISTERS", "ROOM",
    "TABLES_AT", "ZEROES", "AccessCase", "Kind", "Operation",
]  # fmt: skip

MEMORY = 1 << 30
CODE_AT = BASE + 0x20_0000
"""The program; QEMU has its device tree where memory begins."""
PAGE_AT = CODE_AT + 0x1_0000
"""The code that is mapped."""
CASES_AT, FOUND_AT, TABLES_AT = CODE_AT + 0x2_0000, BASE + 0x40_0000, BASE + 0x100_0000
DATA_AT, NOWHERE = BASE + 0x2000_0000, BASE + MEMORY
"""Memory for accesses, and what is behind all memory."""
CASE, ROOM = 0x5000, 0x40_0000
"""Bytes of a case, and of its tables."""
ADDRESSES, ACCESSES = 32, 12
CODE_PAGES = 2

REGISTERS = (
    "tcr_el1", "ttbr0_el1", "ttbr1_el1", "mair_el1", "sctlr_el1", "vbar_el1", "tcr_el2",
    "ttbr0_el2", "ttbr1_el2", "mair_el2", "vtcr_el2", "vttbr_el2", "hcr_el2", "cptr_el2",
)  # fmt: skip
"""In the order in which they are written; SCTLR_EL2, the address of the code, and how many accesses
there are follow."""

EL0, EL1, EL2 = 0x3C0, 0x3C5, 0x3C9
PAN, UAO = 1 << 22, 1 << 23


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of access: its instructions, on x0, x3, x4 and x5, and where in a page it accesses."""

    name: str
    text: str
    offset: int
    what: str = "load"
    """"load", "store", "atomic", "both" (a load, then a store), "maintenance" or "fetch"."""


ZEROES = "dc zva"
KINDS = (
    Kind("ldr", "ldr x3, [x0]", 0x100),
    Kind("str", "str x4, [x0]", 0x100, "store"),
    Kind("str zero", "str wzr, [x0]", 0x108, "store"),
    Kind("strb", "strb w4, [x0, #1]", 0x10F, "store"),
    Kind("ldrsh", "ldrsh w5, [x0]", 0x100),
    Kind("ldrsw", "ldrsw x3, [x0]", 0x100),
    Kind("ldtr", "ldtr x3, [x0]", 0x118),
    Kind("ldtrsb", "ldtrsb x3, [x0]", 0x118),
    Kind("sttr", "sttr w4, [x0]", 0x118, "store"),
    Kind("ldr post", "ldr w3, [x0], #8", 0x100),
    Kind("str pre", "str x4, [x0, #8]!", 0x120, "store"),
    Kind("ldr register", "ldr x3, [x0, xzr]", 0x100),
    Kind("ldar", "ldar x3, [x0]", 0x138),
    Kind("ldapr", "ldapr w3, [x0]", 0x138),
    Kind("ldapur", "ldapur x3, [x0]", 0x138),
    Kind("stlr", "stlr x4, [x0]", 0x138, "store"),
    Kind("exclusive", "ldxr x3, [x0]\n stxr w5, x4, [x0]", 0x140, "both"),
    Kind("exclusive pair", "ldaxp x3, x5, [x0]\n stlxp w5, x4, xzr, [x0]", 0x150, "both"),
    Kind("misaligned exclusive", "ldxr x3, [x0]", 0x144),
    Kind("ldp", "ldp x3, x5, [x0]", 0x160),
    Kind("ldp across", "ldp x3, x5, [x0]", 0xFF8),
    Kind("stp across", "stp x4, xzr, [x0]", 0xFF8, "store"),
    Kind("ldr across", "ldr x3, [x0]", 0xFFC),
    Kind("str across", "str x4, [x0]", 0xFFC, "store"),
    Kind("ldr q across", "ldr q0, [x0]\n mov x3, v0.d[0]", 0xFF8),
    Kind("ldr d", "ldr d0, [x0]\n mov x3, v0.d[0]", 0x160),
    Kind("swp", "swp x4, x3, [x0]", 0x168, "atomic"),
    Kind("ldadd", "ldaddal w4, w3, [x0]", 0x170, "atomic"),
    Kind("stset", "stset x4, [x0]", 0x178, "atomic"),
    Kind("cas", "cas x3, x4, [x0]", 0x180, "atomic"),
    Kind("caspa", "mov x2, #0\n mov x3, #0\n caspa x2, x3, x4, x5, [x0]", 0x190, "atomic"),
    Kind("misaligned swp", "swp x4, x3, [x0]", 0x16C, "atomic"),
    Kind(ZEROES, "dc zva, x0", 0x218, "store"),
    Kind("dc ivac", "dc ivac, x0", 0x249, "maintenance"),
    Kind("dc cvac", "dc cvac, x0", 0x249, "maintenance"),
    Kind("dc cvau", "dc cvau, x0", 0x249, "maintenance"),
    Kind("dc civac", "dc civac, x0", 0x249, "maintenance"),
    Kind("ic ivau", "ic ivau, x0", 0x289, "maintenance"),
    Kind("prfm", "prfm pstl1keep, [x0]", 0x100),
    Kind("fetch", "br x0", 0x800, "fetch"),
    Kind("misaligned fetch", "br x0", 0x802, "fetch"),
)  # fmt: skip
STUB = 16
"""Bytes of the instructions of a kind, which SVC ends."""


@dataclass(frozen=True, slots=True)
class Operation:
    """An access: its address, its kind, and PSTATE."""

    address: int
    kind: Kind
    pstate: int


class AccessCase(Case):
    """Registers, tables, and accesses."""

    def make(self) -> None:
        chance = self.chance
        self.regime = chance.choice(("el1", "el1", "el1", "el2", "host"))
        self.code_in = chance.randrange(2) if self.regime == "el1" else 0
        """The range of addresses that the code is in: EL2's is where it is in memory."""
        self.plain = chance.random() < 0.6
        # Misaligned accesses to Device memory, and DC ZVA, fault; QEMU 7.2 knows nothing of that.
        self.kinds = [kind for kind in KINDS if self.plain or "across" not in kind.name]
        self.touched: set[int] = set()
        """Pages that addresses may lead to."""
        if self.regime == "el1" and chance.random() < 0.6:
            self.second = self.stage_2()
        elif self.regime == "host":
            self.registers["hcr_el2"] |= 1 << 34 | 1 << 27
        self.ranges()
        if self.regime == "el1":
            self.registers["hcr_el2"] |= (chance.random() < 0.3) << 34
        self.registers["sctlr_el1"] |= 1 << 26 | 1 << 15 | 1 << 14 | (chance.random() < 0.1) << 1
        kinds = (0xFF, 0xBB, 0x44) if self.plain else (0x00, 0x04, 0x44, 0xFF, 0xBB, 0x4F)
        self.registers["mair_el1"] = int.from_bytes(
            bytes([0xFF] + [chance.choice(kinds) for _ in range(7)]), "little"
        )
        self.on = self.registers["sctlr_el1"] & 1
        self.code = self.map_code()
        made = [op for _ in range(ADDRESSES) for op in self.accesses()]
        # Those last whose memory may differ: QEMU 7.2 clears Device memory too.
        self.operations = sorted(made, key=lambda op: op.kind.name == ZEROES)
        if self.second:
            for page in range(CODE_PAGES):
                at = PAGE_AT + 4096 * page & -(1 << self.second.grain)
                self.second.map(at, at, 0x4FC if self.second.wide else 0x7FC)
            self.map_all()
        self.finish()

    def stage(self, chance: random.Random, wide: bool, size: int, high: bool) -> tuple[Stage, int]:
        while True:
            stage, bits = super().stage(chance, wide, size, high)
            if high != bool(self.code_in):
                return stage, bits
            least = 12 if stage.wide or stage.grain == 16 else 16
            most = 33 if self.regime != "el1" else 44
            if least <= bits >> (16 if high else 0) & 63 <= most:
                return stage, bits

    def stage_2(self) -> Stage:
        while True:
            stage = super().stage_2()
            if stage.first >= 0:  # QEMU 7.2 finds nothing from level -1 on
                return stage
            self.next_room = self.start

    def map_code(self) -> int:
        """Map the page of code, for all to execute and for nobody to write; its address."""
        if not self.on:
            return PAGE_AT
        which, stage = self.code_in, self.stages[self.code_in]
        self.registers["tcr_el1"] &= ~(1 << (23 if which else 7) | 1 << 55 + which)
        address = PAGE_AT
        if self.regime == "el1":
            address = self.chance.getrandbits(stage.bits) & ~0xFFFF
            address |= -1 << stage.bits & (1 << 64) - 1 if which else 0
        for page in range(CODE_PAGES):
            at = 4096 * page & -(1 << stage.grain)
            rights = 0x4C0 if stage.wide else 0x7C0
            stage.map(address + at, PAGE_AT + at, rights)
        return address

    def accesses(self) -> list[Operation]:
        """Accesses to an address at random, and to what follows it."""
        chance = self.chance
        if self.on:
            number = 0 if self.regime == "el2" else chance.randrange(2)
            stage = self.stages[number]
            address = self.address(stage, bool(number))
            for where in (address, address + 4096):
                if number != self.code_in or (where ^ self.code) & (1 << stage.bits) - 1 & ~0xFFFF:
                    stage.fill(where)
        else:
            address = self.physical(4096) | chance.getrandbits(12)
            if self.second:
                address = self.intermediate() | chance.getrandbits(12)
                self.pages.append((address | 0xFFF) + 1)
        levels = {"el1": (EL0, EL1, EL1), "el2": (EL2,), "host": (EL0, EL2)}[self.regime]
        found = []
        for kind in chance.sample(self.kinds, ACCESSES):
            at = address & ~0xFFF | kind.offset
            if self.is_code(at) or self.is_code(at + 16):
                continue
            pstate = chance.choice(levels)
            pstate |= (chance.random() < 0.3) * PAN | (chance.random() < 0.3) * UAO
            found.append(Operation(at % (1 << 64), kind, pstate))
        return found

    def is_code(self, address: int) -> bool:
        """Whether an address leads to what is mapped for the program, if to anything."""
        if not self.on:
            return BASE <= address % (1 << 56) < DATA_AT
        if self.regime != "el2" and address >> 55 & 1 != self.code_in:
            return False
        inside = (1 << self.stages[self.code_in].bits) - 1
        return not (address ^ self.code) & inside & ~0xFFFF

    def target(self, stage: Stage, inside: int, size: int) -> int:
        if stage.second or not self.second:
            return self.physical(size, inside, stage.output)
        if self.chance.random() < 0.1:
            return self.chance.getrandbits(52) & ~(size - 1) | 1 << 51
        page = self.intermediate()
        base = page & ~(size - 1)
        # Where the address of now leads to, and what follows it.
        while BASE <= (base | inside & size - 1 & ~0xFFF) < DATA_AT:
            base = (page := self.intermediate()) & ~(size - 1) ^ (size if size > 1 << 28 else 0)
        self.pages += [base | inside & size - 1 & ~0xFFF, base | inside + 4096 & size - 1 & ~0xFFF]
        return base

    def physical(self, size: int, inside: int = 0, output: int = 48) -> int:
        """A piece of physical memory, most of the time; or one where nothing is."""
        chance = self.chance
        if size <= NOWHERE - DATA_AT and chance.random() < 0.8:
            base = DATA_AT + size * chance.randrange(min(4, (NOWHERE - DATA_AT) // size))
            for at in (inside, inside + 4096):
                self.touched.add(base | at & (size - 1) & ~0xFFF)
            return base
        above = NOWHERE | chance.getrandbits(30) if output < 43 else 1 << 42
        if chance.random() < 0.3:
            above = 1 << 51 | chance.getrandbits(51)
        if size > NOWHERE:
            above |= 1 << 50
        return above & ~(size - 1)

    def finish(self) -> None:
        """All other registers, from those of stage 1."""
        registers, tcr = self.registers, self.registers["tcr_el1"]
        self.sctlr_el2 = 0x30C5_0830
        if self.regime != "el1":
            self.sctlr_el2 |= registers["sctlr_el1"] & 0x0408_C003
        if self.regime == "el2":
            keep = tcr & 0xFF3F | 1 << 23 | 1 << 31 | (tcr >> 32 & 7) << 16
            for bit, at in ((37, 20), (39, 21), (40, 22), (41, 24), (59, 32)):
                keep |= (tcr >> bit & 1) << at
            tcr = keep
        registers["vbar_el1"] = self.code
        for name in ("tcr", "ttbr0", "ttbr1", "mair"):
            registers[f"{name}_el2"] = registers[f"{name}_el1"] if self.regime != "el1" else 0
        if self.regime != "el1":
            registers["tcr_el2"], registers["sctlr_el1"] = tcr, 0x30D0_0800
        registers["cptr_el2"] = 3 << 20 if registers["hcr_el2"] >> 34 & 1 else 0x33FF

    def write(self, at: int) -> None:
        words = [self.registers[name] for name in REGISTERS]
        words += [self.sctlr_el2, self.code, len(self.operations)]
        for op in self.operations:
            words += [op.address, op.pstate | KINDS.index(op.kind) << 32]
        assert 8 * len(words) < CASE
        struct.pack_into(f"<{len(words)}Q", self.memory, at - BASE, *words)
