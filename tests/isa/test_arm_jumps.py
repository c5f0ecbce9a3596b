"""Jumps of AArch64 to addresses with a tag, which is not kept in the PC (BranchAddr, J1.1.3)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.host import programs

from .arm_machine import ASSEMBLER, BASE, ENGINES, LINKER, run
from .test_arm_system import SETUP, VECTORS

pytestmark = [programs(ASSEMBLER, LINKER), pytest.mark.parametrize("engine", ENGINES)]

STOP = "1: wfi\n b 1b\n .ltorg\n"
TBI0, TBI1, TBID0 = 1 << 37, 1 << 38, 1 << 51
TAG = 0x5A << 56
ADDRESS_SIZE = 0x8600_0000
"""The syndrome of a fetch from an address that is no physical one."""


def with_tags(control: int) -> str:
    return f"{SETUP}\n ldr x0, ={control:#x}\n msr tcr_el1, x0\n isb\n mov x21, #0\n mov x26, #1\n"


@pytest.mark.parametrize("jump", ["br x1", "blr x1", "ret x1", "msr elr_el1, x1\n eret"])
def test_a_tag_is_taken_out_of_the_address(jump: str, engine: str, tmp_path: Path) -> None:
    source = f"""{with_tags(TBI0)}
        mov x0, #0x3c5
        msr spsr_el1, x0
        mov x10, #3
    again:
        adr x1, there
        movk x1, #{TAG >> 48}, lsl #48
        {jump}
        .balign 64
    there:
        adr x9, .
        subs x10, x10, #1
        b.ne again
        svc #0
        {STOP}{VECTORS}
    """
    with run(engine, source, tmp_path) as machine:
        assert machine.x(9) >> 56 == 0
        assert BASE < machine.x(9) < machine.x(23) < BASE + 0x1000
        assert machine.x(21) >> 26 == 0x15


def test_the_upper_range_is_extended_by_ones(engine: str, tmp_path: Path) -> None:
    source = f"{with_tags(TBI1)} ldr x1, =0x5a80000040200000\n br x1\n {STOP}{VECTORS}"
    with run(engine, source, tmp_path) as machine:
        assert machine.x(21) & ~0x3F == ADDRESS_SIZE
        assert machine.x(22) == machine.x(23) == 0xFF80_0000_4020_0000


def test_tags_of_data_alone_are_none(engine: str, tmp_path: Path) -> None:
    source = f"{with_tags(TBI0 | TBID0)} ldr x1, =0x5a00000040200000\n br x1\n {STOP}{VECTORS}"
    with run(engine, source, tmp_path) as machine:
        assert machine.x(21) & ~0x3F == ADDRESS_SIZE
        assert machine.x(22) == machine.x(23) == 0x5A00_0000_4020_0000
