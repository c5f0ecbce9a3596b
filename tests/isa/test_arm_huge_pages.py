"""Any address of a page stands for all of it, however large the page is: TLBI invalidates what is
required to translate the address it is given (D8.17), which is all that one descriptor maps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.host import programs

from .arm_machine import ASSEMBLER, BASE, ENGINES, LINKER, run
from .test_arm_system import SETUP, VECTORS

pytestmark = [programs(ASSEMBLER, LINKER), pytest.mark.parametrize("engine", ENGINES)]

DATA_ABORT, FETCH_ABORT = 0x25, 0x21
TRANSLATION = 4
"""The fault status of a translation fault of level 0."""


@dataclass(frozen=True)
class Block:
    """A block that a first table of ``bits`` addresses has: log2 of its size and of the granule,
    and the codes of the granule for TCR_EL1.TG0 and for TLBI by range."""

    size: int
    level: int
    granule: int
    bits: int
    code: int
    code_of_range: int
    wide: bool

    @property
    def control(self) -> int:
        """TCR_EL1: one range, cached tables, 52-bit physical addresses."""
        return (
            64 - self.bits | 0x3500 | self.code << 14 | 1 << 23 | 6 << 32 | self.wide << 59
        )  # fmt: skip

    def one(self, address: int) -> int:
        """An address as TLBI VAE1 takes it."""
        return address >> 12

    def two(self, address: int) -> int:
        """Two pages from an address on, as TLBI RVAE1 takes them (C5.5)."""
        return address >> (16 if self.wide else self.granule) | self.code_of_range << 46


BLOCKS = {
    "1 GiB": Block(30, 1, 12, 39, code=0, code_of_range=1, wide=False),
    "512 GiB": Block(39, 0, 12, 48, code=0, code_of_range=1, wide=True),
    "64 GiB": Block(36, 1, 14, 47, code=2, code_of_range=2, wide=True),
    "4 TiB": Block(42, 1, 16, 48, code=1, code_of_range=3, wide=False),
}
PROGRAM = """
    adr x1, table
    ldr x2, ={physical} | 0x401  // the block in which this program is, and it once more
    str x2, [x1, #{first}]
    str x2, [x1, #{second}]
    msr ttbr0_el1, x1
    ldr x2, ={control}
    msr tcr_el1, x2
    mov x2, #0xff
    msr mair_el1, x2
    dsb sy
    isb
    mrs x2, sctlr_el1
    orr x2, x2, #1
    msr sctlr_el1, x2
    isb
    adr x3, there
    ldr x4, ={between}
    add x5, x3, x4
    {access}
    mov x8, x25
    str xzr, [x1, #{second}]
    ldr x6, ={operand}
    dsb sy
    tlbi {invalidate}, x6
    dsb sy
    isb
    mov x26, #1
    {access}
    wfi
    b .
    .ltorg
"""
TABLE = """
    .balign 4096                 // nothing else is fetched from this page, or loaded
there: ret
    .balign 65536
table: .space 65536
"""


@pytest.mark.parametrize("invalidate", ["vae1", "rvae1"])
@pytest.mark.parametrize(
    ("access", "abort"), [("ldr x9, [x5]", DATA_ABORT), ("blr x5", FETCH_ABORT)]
)
@pytest.mark.parametrize("name", BLOCKS)
def test_an_address_far_from_what_was_accessed(
    engine: str, name: str, access: str, abort: int, invalidate: str, tmp_path: Path
) -> None:
    kind = BLOCKS[name]
    first = BASE >> kind.size
    start = first + 1 << kind.size
    far = start + (1 << kind.size) - (1 << 20)
    source = PROGRAM.format(
        control=kind.control,
        physical=first << kind.size,
        first=8 * first,
        second=8 * (first + 1),
        between=1 << kind.size,
        access=access,
        invalidate=invalidate,
        operand=(kind.one if invalidate == "vae1" else kind.two)(far),
    )
    with run(engine, SETUP + source + VECTORS + TABLE, tmp_path) as machine:
        assert machine.x(8) == 0, "the first access goes well"
        assert machine.x(25) == 1
        assert machine.x(21) >> 26 == abort
        assert machine.x(21) & 0x3F == TRANSLATION + kind.level
        assert machine.x(22) == machine.x(5)
