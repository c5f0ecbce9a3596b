"""Code that is changed takes effect behind IC and barriers (B2.7.4), wherever it is mapped."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.host import programs

from .arm_machine import ASSEMBLER, ENGINES, LINKER, run

pytestmark = programs(ASSEMBLER, LINKER)

LAPS = 96

PROGRAM = """
    .equ away, 0x40000000        // memory is mapped there again
    adr x0, level1
    ldr x1, =0x40000705          // a gigabyte of normal memory
    str x1, [x0, #8]
    str x1, [x0, #16]
    ldr x1, =0xff00
    msr mair_el1, x1
    ldr x1, =0x200803519         // 39 bits
    msr tcr_el1, x1
    msr ttbr0_el1, x0
    isb
    mrs x1, sctlr_el1
    mov x2, #0x1005
    orr x1, x1, x2
    msr sctlr_el1, x1
    isb
    ldr x18, =away
    adr x20, distant
    adr x21, near
    mov x19, #1
lap:
    // movz x0, #lap
    ldr w8, =0xd2800000
    orr w8, w8, w19, lsl #5
    str w8, [x20]
    str w8, [x21]
    dsb ish
    and x3, x19, #3
    cmp x3, #1
    b.eq by_other
    cmp x3, #2
    b.eq all
    ic ivau, x20
    ic ivau, x21
    b done
by_other:
    add x4, x20, x18
    ic ivau, x4
    add x4, x21, x18
    ic ivau, x4
    b done
all:
    ic iallu
done:
    dsb ish
    isb
    // Sometimes by one address, sometimes by the other, sometimes by both.
    and x3, x19, #24
    cmp x3, #8
    b.eq others
    blr x20
    bl check
near:
    mov x0, #0
    bl check
others:
    and x3, x19, #24
    cmp x3, #16
    b.eq next
    add x4, x20, x18
    blr x4
    bl check
next:
    add x19, x19, #1
    cmp x19, x22
    b.ls lap
over:
    wfi
    b over
check:
    add x26, x26, #1
    cmp x0, x19
    b.eq 1f
    mov x25, x19
    b over
1:  ret
    .ltorg
    .balign 4096
level1:
    .space 4096
distant:
    mov x0, #0
    ret
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_changed_code_is_executed_wherever_it_is_mapped(engine: str, tmp_path: Path) -> None:
    with run(engine, PROGRAM, tmp_path, x22=LAPS) as done:
        assert (done.x(25), done.x(19)) == (0, LAPS + 1)
        calls = sum(2 * (lap & 24 != 8) + (lap & 24 != 16) for lap in range(1, LAPS + 1))
        assert done.x(26) == calls
