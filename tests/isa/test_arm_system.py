"""Exceptions, translation and timers of AArch64 in small programs, under every engine."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.host import programs

from .arm_machine import ASSEMBLER, BASE, ENGINES, LINKER, run

pytestmark = [
    programs(ASSEMBLER, LINKER),
    pytest.mark.parametrize("engine", ENGINES),
]

# Handlers record where an exception came from, its syndrome and address, and go on behind the
# instruction; the stop is a wait with nothing to wait for.
VECTORS = """
    .macro vector kind
    .balign 128
    mov x20, #\\kind
    b record
    .endm
    .balign 2048
vectors:
    vector 0
    vector 1
    vector 2
    vector 3
    vector 4
    vector 5
    vector 6
    vector 7
    vector 8
    vector 9
    vector 10
    vector 11
    vector 12
    vector 13
    vector 14
    vector 15
record:
    mrs x21, esr_el1
    mrs x22, far_el1
    mrs x23, elr_el1
    mrs x24, spsr_el1
    add x25, x25, #1
    cmp x20, #5
    b.eq interrupt
    tbnz x26, #0, stop
    lsr x27, x21, #26
    cmp x27, #0x15
    b.eq back
    add x27, x23, #4
    msr elr_el1, x27
back:
    eret
interrupt:
    msr cntv_ctl_el0, xzr
    isb
    eret
stop:
    wfi
    b stop
"""

SETUP = """
    adr x0, vectors
    msr vbar_el1, x0
"""


def test_an_undefined_instruction_is_taken_to_el1(engine: str, tmp_path: Path) -> None:
    source = SETUP + "mov x26, #1\nhere: udf #0\n" + VECTORS
    with run(engine, source, tmp_path) as machine:
        assert (machine.x(20), machine.x(21) >> 26) == (4, 0)
        assert machine.x(23) == BASE + 12
        assert machine.x(24) & 0x3CF == 0x3C5  # EL1 with its own stack, all masked


def test_el0_calls_el1_and_comes_back(engine: str, tmp_path: Path) -> None:
    source = (
        SETUP
        + """
    mov x1, #0x1000
    msr sp_el0, x1
    mov sp, x0
    adr x1, user
    msr elr_el1, x1
    msr spsr_el1, xzr
    eret
user:
    mov x2, sp
    svc #0x123
    add x3, x25, #100
    mov x26, #1
    mrs x4, sctlr_el1
"""
        + VECTORS
    )
    with run(engine, source, tmp_path) as machine:
        assert (machine.x(2), machine.x(3), machine.x(25)) == (0x1000, 101, 2)
        assert (machine.x(20), machine.x(21)) == (8, 1 << 25)  # from EL0: undefined


TABLES = """
    // A table of level 1 with 1 GiB blocks, and under it pages of 4 KiB for one of 2 MiB.
    adr x1, level1
    ldr x2, =0x40000000 | 0x701
    str x2, [x1, #8]
    adr x3, level2
    orr x2, x3, #3
    str x2, [x1, #16]
    adr x4, level3
    orr x2, x4, #3
    str x2, [x3]
    ldr x2, =0x40200000 | 0x703
    str x2, [x4]                 // read and write, EL1
    ldr x2, =0x40201000 | 0x783
    str x2, [x4, #8]             // read only
    ldr x2, =0x40202000 | 0x743
    str x2, [x4, #16]            // user's
    ldr x2, =0x40203000 | 0x303
    str x2, [x4, #24]            // without the access flag
    msr ttbr0_el1, x1
    msr ttbr1_el1, x1
    ldr x2, =0x00000002b5193519  // 39 bits, granules of 4 KiB
    msr tcr_el1, x2
    mov x2, #0xff
    msr mair_el1, x2
    dsb sy
    isb
    mrs x2, sctlr_el1
    orr x2, x2, #1
    msr sctlr_el1, x2
    isb
    ldr x5, =0x80000000
"""

MEMORY = """
    .balign 4096
level1: .space 4096
level2: .space 4096
level3: .space 4096
"""


def test_pages_are_translated_and_protected(engine: str, tmp_path: Path) -> None:
    source = (
        SETUP
        + TABLES
        + """
    mov x6, #0x55
    str x6, [x5, #8]
    ldr x7, =0x40200008
    ldr x7, [x7]
    add x8, x5, #0x1000
    ldr x9, [x8]
    mov x10, #0
    str x6, [x8]
    mov x10, x21
    mov x11, x22
    add x8, x5, #0x5000
    ldr x9, [x8]
    mov x12, x21
    add x8, x5, #0x3000
    ldr x9, [x8]
    mov x13, x21
    at s1e1r, x5
    mrs x14, par_el1
    at s1e1w, x8
    mrs x15, par_el1
    ldr x16, =0x123456789a
    ldr x9, [x16, #6]
    mov x16, x21
1:  wfi
    b 1b
    .ltorg
"""
        + VECTORS
        + MEMORY
    )
    with run(engine, source, tmp_path) as machine:
        assert machine.x(7) == 0x55
        assert (machine.x(10), machine.x(11)) == (0x9600_004F, 0x8000_1000)  # a write, level 3
        assert machine.x(12) == 0x9600_0007  # translation, level 3
        assert machine.x(13) == 0x9600_000B  # access flag, level 3
        assert machine.x(14) & 0xFFFF_FFFF_F001 == 0x4020_0000
        assert machine.x(15) & 0x7F == 0xB << 1 | 1
        assert machine.x(16) == 0x9600_0005  # translation, level 1


def test_pan_hides_what_is_the_users_but_from_ldtr(engine: str, tmp_path: Path) -> None:
    source = (
        SETUP
        + TABLES
        + """
    add x8, x5, #0x2000
    mov x6, #0x77
    str x6, [x8]
    msr pan, #1
    mov x9, #0
    ldr x9, [x8]
    mov x10, x21
    mov x9, #0
    ldtr x11, [x8]
    msr pan, #0
    ldr x12, [x8]
    ldtr x13, [x5]
    mov x13, x21
1:  wfi
    b 1b
    .ltorg
"""
        + VECTORS
        + MEMORY
    )
    with run(engine, source, tmp_path) as machine:
        assert machine.x(10) == 0x9600_000F  # permission, level 3
        assert (machine.x(11), machine.x(12)) == (0x77, 0x77)
        assert machine.x(13) == 0x9600_000F
        assert machine.x(25) == 2


def test_the_virtual_timer_interrupts(engine: str, tmp_path: Path) -> None:
    source = (
        SETUP
        + """
    mrs x1, cntfrq_el0
    mrs x2, cntvct_el0
    ldr x3, =3125000
    msr cntv_tval_el0, x3
    mov x3, #1
    msr cntv_ctl_el0, x3
2:  wfi                          // masked: it wakes for what is pending
    msr daifclr, #2
    msr daifset, #2
    cbz x25, 2b
    mrs x4, cntvct_el0
    sub x4, x4, x2
1:  wfi
    b 1b
    .ltorg
"""
        + VECTORS
    )
    with run(engine, source, tmp_path) as machine:
        assert machine.x(1) == 62_500_000
        assert (machine.x(20), machine.x(25)) == (5, 1)
        assert machine.x(4) >= 3_125_000
        assert machine.outputs == [2, 0]


def test_a_hypervisor_runs_el1_behind_its_own_tables(engine: str, tmp_path: Path) -> None:
    source = (
        """
    adr x0, hyp
    msr vbar_el2, x0
    adr x1, level1
    ldr x2, =0x40000000 | 0x7fd
    str x2, [x1, #8]
    msr vttbr_el2, x1
    ldr x2, =0x80023559
    msr vtcr_el2, x2
    ldr x2, =0x80000001
    msr hcr_el2, x2
    adr x1, guest
    msr elr_el2, x1
    mov x1, #0x3c5
    msr spsr_el2, x1
    eret
guest:
    mrs x3, currentel
    hvc #5
    ldr x4, =0x80001234
    ldr x5, [x4]
    b guest
    .ltorg
    .balign 2048
hyp:
    .space 1024
    mrs x21, esr_el2
    mrs x22, far_el2
    mrs x23, hpfar_el2
    lsr x6, x21, #26
    cmp x6, #0x16
    b.ne stop
    mov x7, x21
    eret
stop:
    wfi
    b stop
"""
        + MEMORY
    )
    with run(engine, source, tmp_path, hypervisor=True) as machine:
        assert machine.x(3) == 4
        assert machine.x(7) == 0x5A00_0005
        assert (machine.x(21), machine.x(22)) == (0x93C5_8005, 0x8000_1234)  # a load of x5
        assert machine.x(23) == 0x80001 << 4


def test_a_guest_is_told_of_an_error(engine: str, tmp_path: Path) -> None:
    """A virtual SError (HCR_EL2.VSE) is taken once it is not masked, and pending no more; as long
    as it is, ISR_EL1 shows it, beside a virtual interrupt that stays."""
    source = """
    adr x0, hyp
    msr vbar_el2, x0
    adr x0, low
    msr vbar_el1, x0
    ldr x2, =0x80000000 | 1 << 8 | 1 << 7 | 1 << 5 | 1 << 4    // RW, VSE, VI, AMO, IMO
    msr hcr_el2, x2
    mrs x3, isr_el1              // of what is physical
    adr x1, guest
    msr elr_el2, x1
    mov x1, #0x3c5
    msr spsr_el2, x1
    eret
guest:
    mrs x4, isr_el1
here:
    msr daifclr, #4
    nop
    .ltorg
    .balign 2048
low:
    .space 0x380
    mrs x5, isr_el1
    mrs x6, esr_el1
    mrs x7, elr_el1
    adr x8, here + 4
    sub x7, x7, x8
    hvc #0
    .balign 2048
hyp:
    .space 1024
    mrs x20, hcr_el2
stop:
    wfi
    b stop
"""
    with run(engine, source, tmp_path, hypervisor=True) as machine:
        assert (machine.x(3), machine.x(4), machine.x(5)) == (0, 1 << 8 | 1 << 7, 1 << 7)
        assert (machine.x(6), machine.x(7)) == (0x2F << 26 | 1 << 25, 0)
        assert machine.x(20) == 1 << 31 | 1 << 7 | 1 << 5 | 1 << 4


def test_page_tables_may_lie_in_read_only_memory(engine: str, tmp_path: Path) -> None:
    """As UEFI's first ones do, in flash; but no access flag can be set in them."""
    gigabyte, accessed = 1 << 30, 0x701
    table = struct.pack("<3Q", 0, gigabyte | accessed, gigabyte | accessed & ~(1 << 10))
    source = (
        SETUP
        + """
    mov x1, #0xff
    msr mair_el1, x1
    ldr x1, =0x8000803519        // 39 bits, access flags by hardware
    msr tcr_el1, x1
    msr ttbr0_el1, xzr
    isb
    mrs x1, sctlr_el1
    orr x1, x1, #1
    msr sctlr_el1, x1
    isb
    mov x3, #7
    mov x26, #1
    mov x4, #0x80000000
    ldr x5, [x4]
    .ltorg
"""
        + VECTORS
    )
    with run(engine, source, tmp_path, rom=table) as machine:
        assert machine.x(3) == 7
        assert machine.x(21) == 0x25 << 26 | 1 << 25 | 0x15, "an external abort on the walk"
        assert machine.x(22) == 0x8000_0000


def test_a_host_at_el2_finds_its_own_timers_under_el1s_names(engine: str, tmp_path: Path) -> None:
    source = """
    ldr x1, =0x400000000         // HCR_EL2.E2H
    msr hcr_el2, x1
    isb
    mov x2, #77
    msr cntp_cval_el0, x2
    mov x2, #1
    msr cntp_ctl_el0, x2
    wfi                          // masked: it wakes for what is pending
    mov x9, #100                 // until its output is looked at
1:  sub x9, x9, #1
    cbnz x9, 1b
    mrs x3, cnthp_cval_el2
    mrs x4, cnthp_ctl_el2
    mrs x5, cntp_ctl_el02
    mov x2, #3
    msr cntkctl_el1, x2
    mrs x6, cnthctl_el2
    mrs x7, cntkctl_el12
    msr cnthp_ctl_el2, xzr
stop:
    wfi
    b stop
    .ltorg
"""
    with run(engine, source, tmp_path, hypervisor=True) as machine:
        assert [machine.x(n) for n in range(3, 8)] == [77, 5, 0, 3, 0]
        assert machine.outputs == [1 << 2, 0], "the hypervisor's physical timer, and its end"
