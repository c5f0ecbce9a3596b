"""Address spaces take turns on one vCPU, and each sees its own pages (D8.16, D8.17)."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.accel.spaces import GLOBAL_PAGES, PAGES, Spaces
from tests.host import programs

from .arm_machine import ASSEMBLER, BASE, Run, assemble

pytestmark = programs(ASSEMBLER)

VERB_BYTES = 64
VERBS = {
    "next": "ldr x9, [x10]\n ldp x0, x1, [x10, #8]\n add x10, x10, #32\n br x9",
    "enter": "msr ttbr1_el1, x1\n msr ttbr0_el1, x0\n isb",
    "hide": "msr pan, #1",
    "show": "msr pan, #0",
    "load": "ldr x2, [x0]\n str x2, [x11], #8",
    "load of user": "ldtr x2, [x0]\n str x2, [x11], #8",
    "store": "str x1, [x0]\n dsb sy\n isb",
    "store of user": "sttr x1, [x0]",
    "call": "blr x0\n str x2, [x11], #8",
    "fence page of space": "dsb sy\n tlbi vae1, x1\n dsb sy\n isb",
    "fence space": "dsb sy\n tlbi aside1, x1\n dsb sy\n isb",
    "fence range": "orr x1, x1, #1 << 46\n dsb sy\n tlbi rvae1is, x1\n dsb sy\n isb",
    "fence page": "dsb sy\n tlbi vaae1, x1\n dsb sy\n isb",
    "fence": "dsb sy\n tlbi vmalle1\n dsb sy\n isb",
    "end": "wfi",
    "trap": "mrs x12, esr_el1\n wfi",
}
# 39 bits, granules of 4 KiB, ASIDs of 16 bits, TTBR1 without tables.
TCR = 25 | 25 << 16 | 1 << 23 | 2 << 30 | 2 << 32 | 1 << 36
A1, EPD1 = 1 << 22, 1 << 23


class ArmSpaces(Spaces):
    """With tables for 39 bits, at EL1. The ASID is in TTBR1 or in TTBR0."""

    base = BASE

    def __init__(self, machine: Run, count: int, kernel_global: bool, *, asid_high: bool):
        self.asid_high = asid_high
        super().__init__(machine.ram, count, kernel_global)
        self.machine = machine

    def pointer(self, table: int) -> int:
        return table | 3

    def kernel(self) -> int:
        return self.base | 0x701 | (0 if self.kernel_global else 1 << 11)

    def leaf(self, page: int, frame: int) -> int:
        own = 0 if page in GLOBAL_PAGES else 1 << 11
        return (self.frames_at + frame * 4096) | 0x703 | own | self.of_user(page) << 6

    def function(self, frame: int) -> bytes:
        movz, ret = 0xD280_0002 | frame << 5, 0xD65F_03C0
        return movz.to_bytes(4, "little") + ret.to_bytes(4, "little")

    def enter(self, space: int) -> None:
        super().enter(space)
        asid = space << 48
        self.order("enter", *((self.root(space), asid) if self.asid_high else
                              (self.root(space) | asid, 0)))  # fmt: skip

    def remap(self, space: int, page: int, frame: int, chance: random.Random) -> None:
        """By way of an entry that maps nothing (D8.16.1)."""
        super().remap(space, page, frame, chance)
        self.order(chance.choice(("hide", "show")))
        fences = ["fence", "fence page", "fence page of space", "fence range"]
        if page in PAGES:
            fences.append("fence space")
        operand = self.address(page) >> 12 | space << 48
        self.order("store", self.slot(space, page), 0)
        self.order(chance.choice(fences), 0, operand)
        self.order("store", self.slot(space, page), self.leaf(page, frame))

    def run(self) -> list[int]:
        places = {name: BASE + n * VERB_BYTES for n, name in enumerate(VERBS)}
        self.put_orders(places)
        self.machine.until_halt(
            ttbr0_el1=self.root(0), ttbr1_el1=0, tcr_el1=TCR | (A1 if self.asid_high else 0),
            mair_el1=0xFF, sctlr_el1=0x30D0_0801, vbar_el1=self.base + 0x800,
            x10=self.orders_at, x11=self.found_at,
        )  # fmt: skip
        assert self.machine.x(12) == 0, hex(self.machine.x(12))
        return self.words(self.found_at, (self.machine.x(11) - self.found_at) // 8)


def program(folder: Path) -> bytes:
    """The verbs, each in a place of its own, and the handler of exceptions of EL1."""
    lines = ["start:"]
    for n, text in enumerate(VERBS.values()):
        lines += [f".org {n * VERB_BYTES}", text, "b start"]
    trap = list(VERBS).index("trap") * VERB_BYTES
    return assemble("\n".join([*lines, ".org 0xa00", f"b start + {trap}", ""]), folder)


@pytest.mark.parametrize("engine", ["reference", "interp", "everything,forget"])
def test_orders_at_random(engine: str, tmp_path: Path) -> None:
    code = program(tmp_path)
    for seed, count, kernel_global, asid_high in (
        (1, 3, True, False), (2, 40, True, True), (3, 30, False, True),
    ):  # fmt: skip
        machine = Run(engine, code)
        try:
            spaces = ArmSpaces(machine, count, kernel_global, asid_high=asid_high)
            spaces.at_random(seed, 40 if engine == "reference" else 800)
            assert spaces.run() == spaces.wanted, seed
        finally:
            machine.close()


ROOTS, BLOCKS, CODE = BASE + 0x30_0000, BASE + 0x30_1000, BASE + 0x30_2000
PAGE_TABLE = BASE + 0x30_3000
BLOCK, AT, WIDE_PAGE = 0x701, 0x1F_C000, 0x403
UP_TO_THE_END = 1 << 46 | 1 << 39 | (-2 & (1 << 37) - 1)
"""Of a TLBI by range: four pages from the last but one on."""
RVAE1, RVAE2 = 0xD508_8622, 0xD50C_8622
"""TLBI RVAE1 and RVAE2 with operand x2, which the assembler does not know."""


def remaps(place: int, entry: int, instruction: int, operand: int, new: int) -> str:
    """A program that loads x1 from a place, maps something else there by another ``entry`` in a
    table, after a TLBI, and loads x3 from it."""
    return f"""
        ldr x0, ={place}
        ldr x1, [x0]
        ldr x5, ={entry}
        str xzr, [x5]
        dsb sy
        ldr x2, ={operand}
        .inst {instruction:#x}
        dsb sy
        isb
        ldr x6, ={new}
        str x6, [x5]
        dsb sy
        isb
        ldr x3, [x0]
        wfi
        .ltorg
        .org 0xa00
        wfi
        """


@pytest.mark.parametrize("engine", ["reference", "interp", "everything"])
def test_a_range_ends_where_addresses_do(engine: str, tmp_path: Path) -> None:
    source = remaps(
        (1 << 64) - 16384, BLOCKS + 511 * 8, RVAE1, UP_TO_THE_END, BASE + 0x20_0000 | BLOCK
    )
    machine = Run(engine, assemble(source, tmp_path))
    try:
        for address, value in (
            (ROOTS + 511 * 8, BLOCKS | 3), (BLOCKS + 511 * 8, BASE | BLOCK),
            (CODE + 8, BASE | BLOCK), (BASE + AT, 1),
            (BASE + 0x20_0000 + AT, 2),
        ):  # fmt: skip
            machine.memory(address, 8)[:] = value.to_bytes(8, "little")
        machine.until_halt(
            ttbr0_el1=CODE, ttbr1_el1=ROOTS, tcr_el1=TCR & ~EPD1, mair_el1=0xFF,
            sctlr_el1=0x30D0_0801, vbar_el1=BASE + 0x800,
        )  # fmt: skip
        assert (machine.x(1), machine.x(3)) == (1, 2)
    finally:
        machine.close()


PLACE = 0x7_3000
"""A page that is not the first of its 64 KiB."""
WIDE_EL1, WIDE_EL2, RESERVED_EL2 = 1 << 59, 1 << 32, 1 << 31 | 1 << 23
REGIMES = {
    "el1": (RVAE1, TCR & ~EPD1 | WIDE_EL1),
    "el2": (RVAE2, 25 | WIDE_EL2 | RESERVED_EL2),
}


@pytest.mark.parametrize("engine", ["reference", "interp", "everything"])
@pytest.mark.parametrize("level", REGIMES)
def test_a_range_of_wide_addresses_begins_at_64_kib(
    engine: str, level: str, tmp_path: Path
) -> None:
    """With descriptors of 52-bit addresses (TCR_ELx.DS) BaseADDR is the address by 64 KiB, though
    pages have 4 (D8.17.5)."""
    instruction, control = REGIMES[level]
    all_of_it = 1 << 46 | 7 << 39 | PLACE >> 16  # sixteen pages
    source = remaps(
        PLACE, PAGE_TABLE + (PLACE >> 12) * 8, instruction, all_of_it, BASE + 0x20_0000 | WIDE_PAGE
    )
    machine = Run(engine, assemble(source, tmp_path), hypervisor=level == "el2")
    try:
        for address, value in (
            (ROOTS, BLOCKS | 3), (ROOTS + 8 * (BASE >> 30), BASE | WIDE_PAGE & ~2),
            (BLOCKS, PAGE_TABLE | 3),
            (PAGE_TABLE + (PLACE >> 12) * 8, BASE + 0x20_1000 | WIDE_PAGE),
            (BASE + 0x20_1000, 1), (BASE + 0x20_0000, 2),
        ):  # fmt: skip
            machine.memory(address, 8)[:] = value.to_bytes(8, "little")
        registers = {
            "ttbr0": ROOTS, "tcr": control, "mair": 0xFF, "sctlr": 0x30D0_0801,
            "vbar": BASE + 0x800,
        }  # fmt: skip
        machine.until_halt(**{f"{name}_{level}": value for name, value in registers.items()})
        assert (machine.x(1), machine.x(3)) == (1, 2)
    finally:
        machine.close()
