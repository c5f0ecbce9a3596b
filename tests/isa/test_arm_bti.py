"""Branch targets: every kind of branch to every kind of instruction, between guarded pages and
others, as QEMU has it."""

from __future__ import annotations

from functools import cache
from itertools import product
from pathlib import Path

import pytest

from tests.host import programs

from .arm_machine import ASSEMBLER, ENGINES, LINKER, run
from .arm_results import QEMU, ours, qemus

BRANCHES = (
    "br x0", "br x16", "br x17", "blr x0", "ret x0", "braaz x0", "braa x17, x1", "blraa x0, x1",
    "retaa",
)  # fmt: skip
TARGETS = ("nop", "bti", "bti c", "bti j", "bti jc", "paciasp", "pacibsp", "brk #1")
COUNT = 8 * len(BRANCHES) * len(TARGETS)

# What is at 1 GiB is at 2 GiB as well, where its pages are guarded.
MAPPED = """
    adr x0, vectors
    msr vbar_el1, x0
    adr x1, level1
    ldr x2, =0x40000701
    str x2, [x1, #8]
    orr x2, x2, #1 << 50
    str x2, [x1, #16]
    msr ttbr0_el1, x1
    ldr x2, =0x00000002b5993519  // 39 bits, granules of 4 KiB, none of TTBR1
    msr tcr_el1, x2
    mov x2, #0xff
    msr mair_el1, x2
    dsb sy
    isb
"""

PROGRAM = f"""
    {MAPPED}
    adr x6, results
    mov x7, #0                   // SCTLR_EL1.BT1, from and to guarded pages: bits 0 to 2
again:
    ldr x2, =0x30d00801
    bfi x2, x7, #36, #1
    msr sctlr_el1, x2
    isb
    mov x8, #0
branch:
    mov x9, #0
target:
    adr x0, targets
    add x0, x0, x9, lsl #3
    tst x7, #4
    mov x3, #0x40000000
    csel x3, x3, xzr, ne
    add x0, x0, x3
    adr x1, branches
    add x1, x1, x8, lsl #2
    tst x7, #2
    mov x3, #0x40000000
    csel x3, x3, xzr, ne
    add x1, x1, x3
    mov x16, x0
    mov x17, x0
    mov x30, x0
    adr x10, back
    mov x20, #0
    ret x1
back:
    str x20, [x6], #8
    add x9, x9, #1
    cmp x9, #{len(TARGETS)}
    b.ne target
    add x8, x8, #1
    cmp x8, #{len(BRANCHES)}
    b.ne branch
    add x7, x7, #1
    cmp x7, #8
    b.ne again
    b finish
    .ltorg
branches:
    {chr(10).join(BRANCHES)}
targets:
    {chr(10).join(f"{text}{chr(10)} ret x10" for text in TARGETS)}
    .balign 2048
vectors:
    .space 512
    mrs x20, esr_el1
    mrs x21, spsr_el1
    ubfx x21, x21, #10, #2
    orr x20, x20, x21, lsl #60
    msr elr_el1, x10
    mov x21, #0x3c5
    msr spsr_el1, x21
    eret
    .balign 4096
level1: .space 4096
"""


@cache
def expected(folder: Path) -> list[int]:
    """QEMU's outcomes, made once for all engines."""
    return qemus(PROGRAM, COUNT, folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bti")


def tried() -> list[tuple[int, str, str]]:
    """What the outcomes are of, in their order."""
    return list(product(range(8), BRANCHES, TARGETS))


@programs(ASSEMBLER, LINKER, QEMU)
@pytest.mark.parametrize("engine", [pytest.param(ENGINES[0], marks=pytest.mark.slow), *ENGINES[1:]])
def test_branches_may_lead_where_they_may_under_qemu(
    engine: str, folder: Path, tmp_path: Path
) -> None:
    wanted, got = expected(folder), ours(engine, PROGRAM, COUNT, tmp_path)
    for (how, branch, target), ours_, qemus_ in zip(tried(), got, wanted, strict=True):
        if not how & 4:
            # Nobody looks at how instructions of unguarded pages were reached.
            ours_, qemus_ = ours_ & (1 << 60) - 1, qemus_ & (1 << 60) - 1
        assert ours_ == qemus_, f"{branch} to {target}, {how:03b}: {ours_:#x}, not {qemus_:#x}"
    faults = [n for n, value in enumerate(wanted) if value >> 26 & 63 == 0x0D]
    assert len(faults) > COUNT // 10


# An exception return says how the instruction that it leads to is reached.
RETURNS = f"""
    {MAPPED}
    ldr x2, =0x30d00801
    msr sctlr_el1, x2
    isb
    mov x3, #0
    adr x0, plain
    orr x0, x0, #0x80000000
    bic x0, x0, #0x40000000
    msr elr_el1, x0
    mov x1, #0x3c5
    orr x1, x1, #2 << 10
    msr spsr_el1, x1
    eret
plain:
    add x3, x3, #1
    bti c
    add x3, x3, #2
stop:
    wfi
    b stop
    .ltorg
    .balign 2048
vectors:
    .space 512
    mrs x20, esr_el1
    mrs x21, spsr_el1
    mrs x22, elr_el1
    add x5, x22, #4
    msr elr_el1, x5
    eret
    .balign 4096
level1: .space 4096
"""


@programs(ASSEMBLER, LINKER)
@pytest.mark.parametrize("engine", ENGINES)
def test_exceptions_keep_how_an_instruction_was_reached(engine: str, tmp_path: Path) -> None:
    """The second return leads to BTI c, which a call may reach."""
    with run(engine, RETURNS, tmp_path) as machine:
        assert machine.x(20) == 0x0D << 26 | 1 << 25 | 2
        assert machine.x(21) == 0x3C5 | 2 << 10
        assert machine.x(3) == 2
