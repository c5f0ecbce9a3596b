"""Translation that processor models differ in (D8.4, D8.5): flags by hardware, rights, stage 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.host import programs

from .arm_machine import ASSEMBLER, ENGINES, LINKER, Run, assemble
from .test_arm_system import MEMORY, SETUP, TABLES, VECTORS

pytestmark = [programs(ASSEMBLER, LINKER), pytest.mark.parametrize("engine", ENGINES[:3])]

FAULT = 1
ACCESS_FLAG, PERMISSION, RANGE = 0xB, 0xF, 0x4
"""Fault status codes: of level 3, and of level 0."""

CONTROL = """
    mrs x2, tcr_el1
    ldr x3, =1 << 39 | 1 << 40 | 1 << 41 | 1 << 55   // HA, HD, HPD0, E0PD0
    orr x2, x2, x3
    msr tcr_el1, x2
    adr x4, level3
    ldr x2, [x4, #8]
    orr x2, x2, #1 << 51         // what is read only becomes dirty by a store
    str x2, [x4, #8]
    adr x3, level2
    ldr x2, [x3]
    orr x2, x2, #1 << 62         // the table lets nobody store
    str x2, [x3]
    tlbi vmalle1
    dsb sy
    isb
    add x6, x5, #0x1000
    add x7, x5, #0x2000
    add x8, x5, #0x3000
"""
ASK = """
    at s1e1r, x8
    mrs x10, par_el1
    at s1e1w, x6
    mrs x11, par_el1
    at s1e1w, x5
    mrs x12, par_el1
    at s1e0r, x7
    mrs x13, par_el1
    ldr x14, [x4, #24]
    ldr x15, [x4, #8]
"""
END = f"""
    wfi
    b .
    .ltorg
    {VECTORS}{MEMORY}
"""


def ran(
    engine: str,
    model: str,
    source: str,
    folder: Path,
    *,
    hypervisor: bool = False,
    **registers: int,
) -> Run:
    machine = Run(engine, assemble(source, folder), model=model, hypervisor=hypervisor)
    machine.until_halt(**registers)
    machine.close()
    return machine


def status(par: int) -> int:
    """The fault that PAR_EL1 tells of, or 0."""
    return par >> 1 & 0x3F if par & FAULT else 0


@pytest.mark.parametrize(
    ("model", "wanted"),
    [
        ("cortex-a53", [ACCESS_FLAG, PERMISSION, PERMISSION, 0]),
        ("cortex-a76", [0, 0, 0, 0]),
        ("max", [0, 0, 0, RANGE]),
    ],
)
def test_control_of_what_a_model_lacks_counts_for_nothing(
    model: str, wanted: list[int], engine: str, tmp_path: Path
) -> None:
    machine = ran(engine, model, SETUP + TABLES + CONTROL + ASK + END, tmp_path)
    assert [status(machine.x(n)) for n in range(10, 14)] == wanted
    assert machine.x(14) & 1 << 10 == 0, "AT sets no flags"
    assert machine.x(15) & 1 << 7, "AT makes nothing dirty"


def test_accesses_set_flags(engine: str, tmp_path: Path) -> None:
    access = """
    ldr x9, [x8]
    ldr x9, [x6]
    ldr x14, [x4, #24]
    ldr x15, [x4, #8]
    str x9, [x6]
    ldr x16, [x4, #8]
    """
    machine = ran(engine, "max", SETUP + TABLES + CONTROL + access + END, tmp_path)
    assert machine.x(25) == 0, "no exception"
    assert machine.x(14) & 1 << 10
    assert machine.x(15) & 1 << 7, "a load makes nothing dirty"
    assert not machine.x(16) & 1 << 7


@pytest.mark.parametrize(("model", "hidden"), [("cortex-a76", False), ("max", True)])
def test_what_users_may_only_execute_is_hidden_too(
    model: str, hidden: bool, engine: str, tmp_path: Path
) -> None:
    """PAN3: with SCTLR_EL1.EPAN, PAN hides what EL0 may execute and not read."""
    ask = """
    adr x4, level3
    ldr x2, [x4]
    orr x2, x2, #1 << 53         // EL1 may not execute it
    str x2, [x4]
    mrs x2, sctlr_el1
    orr x2, x2, #1 << 57
    msr sctlr_el1, x2
    tlbi vmalle1
    dsb sy
    isb
    msr pan, #1
    at s1e1rp, x5
    mrs x10, par_el1
    at s1e1r, x5
    mrs x11, par_el1
    """
    machine = ran(engine, model, SETUP + TABLES + ask + END, tmp_path)
    assert status(machine.x(10)) == (PERMISSION if hidden else 0)
    assert status(machine.x(11)) == 0


GUEST = """
    adr x0, hyp
    msr vbar_el2, x0
    adr x1, level1
    ldr x2, =0x400000fd | 1 << 51 | {never} << 53
    str x2, [x1, #8]
    msr vttbr_el2, x1
    ldr x2, ={control}
    msr vtcr_el2, x2
    ldr x2, =0x80000001
    msr hcr_el2, x2
    adr x1, guest
    msr elr_el2, x1
    mov x2, #0x3c5
    msr spsr_el2, x2
    eret
guest:
    mov x9, #1
    adr x1, level3
    str x9, [x1]
    hvc #0
    .ltorg
    .balign 2048
hyp:
    .space 1024
    mrs x21, esr_el2
    mrs x23, hpfar_el2
    adr x1, level1
    ldr x22, [x1, #8]
stop:
    wfi
    b stop
"""
STAGE_2 = 0x8002_3559 | 1 << 21 | 1 << 22
FETCH_PERMISSION = 0x20 << 26 | 1 << 25 | 0xD  # of level 1
HVC = 0x16 << 26 | 1 << 25


@pytest.mark.parametrize(
    ("model", "never", "wanted"),
    [
        ("max", 0b00, HVC), ("max", 0b01, FETCH_PERMISSION), ("max", 0b10, FETCH_PERMISSION),
        ("max", 0b11, HVC),
    ],
)  # fmt: skip
def test_stage_2_lets_levels_execute_and_sets_flags(
    model: str, never: int, wanted: int, engine: str, tmp_path: Path
) -> None:
    """XNX: 01 is for EL0 alone, 11 for EL1 alone (D8.4.2). The block begins clean and untouched."""
    source = GUEST.format(never=never, control=STAGE_2) + MEMORY
    machine = ran(engine, model, source, tmp_path, hypervisor=True)
    assert machine.x(21) == wanted
    if wanted == HVC:
        assert machine.x(22) >> 10 & 1, "accessed"
        assert machine.x(22) >> 7 & 1, "dirty"


@pytest.mark.parametrize(("start", "wanted"), [(1, HVC), (2, 0x20 << 26 | 1 << 25 | RANGE)])
def test_stage_2_begins_where_its_range_fits(
    start: int, wanted: int, engine: str, tmp_path: Path
) -> None:
    """39 bits with 4 KiB granules begin at level 1; of level 0 they have less than an entry."""
    control = STAGE_2 & ~(3 << 6) | start << 6
    source = GUEST.format(never=0, control=control) + MEMORY
    machine = ran(engine, "max", source, tmp_path, hypervisor=True)
    assert machine.x(21) == wanted


SYSTEM = 0x18


TAKEN = [
    (54, "tlbi vmalle1is"), (52, "ic iallu"), (52, "dc cvau, x0"), (50, "ic ialluis"),
    (49, "mrs x9, clidr_el1"), (49, "mrs x9, ccsidr_el1"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("model", "bit", "instruction"),
    [
        *(("cortex-a76", *each) for each in TAKEN),
        *(("max", *each) for each in [*TAKEN, (55, "tlbi vae1os, x0")]),
    ],
)
def test_a_hypervisor_takes_some_of_maintenance(
    model: str, bit: int, instruction: str, engine: str, tmp_path: Path
) -> None:
    """EVT (D17.2.48). A processor that lacks it has no such bits."""
    source = f"""
    adr x0, hyp
    msr vbar_el2, x0
    ldr x2, =0x80000000 | 1 << {bit}
    msr hcr_el2, x2
    mrs x20, hcr_el2
    adr x1, guest
    msr elr_el2, x1
    mov x2, #0x3c5
    msr spsr_el2, x2
    eret
guest:
    {instruction}
    hvc #0
    .ltorg
    .balign 2048
hyp:
    .space 1024
    mrs x21, esr_el2
stop:
    wfi
    b stop
"""
    machine = ran(engine, model, source, tmp_path, hypervisor=True)
    there = model == "max"
    assert machine.x(20) >> bit & 1 == there
    assert machine.x(21) >> 26 == (SYSTEM if there else HVC >> 26)


@pytest.mark.parametrize("trapped", [False, True])
def test_a_hypervisor_takes_the_zeroing_of_blocks(
    trapped: bool, engine: str, tmp_path: Path
) -> None:
    """HCR_EL2.TDZ (D17.2.48), of which DCZID_EL0 tells below EL2 (D17.2.39)."""
    source = f"""
    adr x0, hyp
    msr vbar_el2, x0
    ldr x2, =0x80000000 | {int(trapped)} << 28
    msr hcr_el2, x2
    mrs x20, dczid_el0
    adr x1, guest
    msr elr_el2, x1
    mov x2, #0x3c5
    msr spsr_el2, x2
    eret
guest:
    mrs x22, dczid_el0
    dc zva, x0
    hvc #0
    .ltorg
    .balign 2048
hyp:
    .space 1024
    mrs x21, esr_el2
stop:
    wfi
    b stop
"""
    machine = ran(engine, "max", source, tmp_path, hypervisor=True)
    assert (machine.x(20), machine.x(22)) == (4, 4 | trapped << 4)
    assert machine.x(21) >> 26 == (SYSTEM if trapped else HVC >> 26)


@pytest.mark.parametrize("level", [0, 1])
def test_who_cleans_needs_to_read_at_el0_alone(level: int, engine: str, tmp_path: Path) -> None:
    """Of both stages (D7.5.9); here stage 2 lets nobody access anything but the program."""
    source = f"""
    adr x0, hyp
    msr vbar_el2, x0
    adr x1, level1
    ldr x2, =0x40000000 | 0x7fd
    str x2, [x1, #8]
    ldr x2, =0x40000000 | 0x73d      // without S2AP
    str x2, [x1, #16]
    msr vttbr_el2, x1
    ldr x2, ={STAGE_2}
    msr vtcr_el2, x2
    mov x2, #1 << 26
    msr sctlr_el1, x2
    ldr x2, =0x80000001
    msr hcr_el2, x2
    isb
    adr x1, guest
    msr elr_el2, x1
    mov x2, #{0x3C0 | 5 * level}
    msr spsr_el2, x2
    ldr x4, =0x80000040
    eret
guest:
    dc cvac, x4
    hvc #0
    .ltorg
    .balign 2048
hyp:
    .space 1024
    mrs x21, esr_el2
    mrs x22, far_el2
stop:
    wfi
    b stop
{MEMORY}"""
    machine = ran(engine, "max", source, tmp_path, hypervisor=True)
    if level == 0:
        assert machine.x(21) & ~0x3F == 0x24 << 26 | 1 << 25 | 1 << 8 | 1 << 6
        assert (machine.x(21) & 0x3F, machine.x(22)) == (0xD, 0x8000_0040)
    else:
        assert machine.x(21) == HVC
