"""Performance monitors of AArch64: what is counted, where, and what tells of an overflow."""

from __future__ import annotations

from pathlib import Path

import pytest

from bimetal.isa.arm.features import COUNTERS
from bimetal.isa.arm.sysregs import REGISTERS
from tests.host import programs

from .arm_machine import ASSEMBLER, ENGINES, LINKER, run
from .test_arm_system import SETUP, VECTORS

pytestmark = programs(ASSEMBLER, LINKER)
engines = pytest.mark.parametrize("engine", ENGINES)

STOP = "1: wfi\n b 1b\n .ltorg\n"
LAPS = 1000
WORK = f"mov x9, #{LAPS}\n 1: subs x9, x9, #1\n b.ne 1b\n"
NOT_AT_EL1, NOT_AT_EL0 = 1 << 31, 1 << 30
RETIRED, INCREMENTS = 0x08, 0x00


@engines
def test_cycles_and_events_are_counted_while_on(engine: str, tmp_path: Path) -> None:
    source = f"""{SETUP}
        mrs x1, pmccntr_el0
        {WORK}
        mrs x2, pmccntr_el0          // nothing yet
        mov x10, #{RETIRED}
        msr pmevtyper1_el0, x10
        mov x11, #2
        msr pmselr_el0, x11
        msr pmxevtyper_el0, xzr      // number 2: increments by software
        ldr x10, =1 << 31 | 7
        msr pmcntenset_el0, x10
        mov x10, #7
        msr pmcr_el0, x10            // on, and all from zero
        isb
        mrs x3, pmccntr_el0
        mrs x4, pmevcntr1_el0
        {WORK}
        mrs x5, pmccntr_el0
        mrs x6, pmevcntr1_el0
        mov x10, #6
        msr pmswinc_el0, x10
        msr pmswinc_el0, x10
        mrs x7, pmxevcntr_el0
        mov x10, #2
        msr pmcntenclr_el0, x10
        mrs x8, pmevcntr1_el0
        {WORK}
        mrs x12, pmevcntr1_el0
        mrs x13, pmcr_el0
        mrs x14, pmceid0_el0
        mrs x15, pmcntenset_el0
        {STOP}{VECTORS}"""
    with run(engine, source, tmp_path) as machine:
        x = machine.x
        assert x(2) == x(1) == 0
        assert x(5) - x(3) == x(6) - x(4) == 2 * LAPS + 3
        assert x(7) == 2
        assert x(8) == x(12) > x(6)
        assert x(13) >> 11 & 31 == COUNTERS
        assert x(14) == 1 << 0x00 | 1 << 0x08 | 1 << 0x11
        assert x(15) == 1 << 31 | 5


@engines
def test_filters_leave_exception_levels_out(engine: str, tmp_path: Path) -> None:
    source = f"""{SETUP}
        ldr x10, ={RETIRED | NOT_AT_EL1}
        msr pmevtyper0_el0, x10
        ldr x10, ={RETIRED | NOT_AT_EL0}
        msr pmevtyper1_el0, x10
        mov x10, #3
        msr pmcntenset_el0, x10
        mov x10, #7
        msr pmcr_el0, x10
        msr spsr_el1, xzr
        adr x10, user
        msr elr_el1, x10
        eret
    user:
        {WORK}
        mov x26, #1
        svc #0
        {VECTORS.replace("stop:", "stop: mrs x5, pmevcntr0_el0; mrs x6, pmevcntr1_el0; 9:")}"""
    with run(engine, source, tmp_path) as machine:
        # The call that leaves EL0 is not complete there, nor elsewhere.
        assert machine.x(5) in (2 * LAPS + 2, 2 * LAPS + 3)
        assert 10 < machine.x(6) < 40


@engines
def test_an_overflow_is_an_output_until_it_is_cleared(engine: str, tmp_path: Path) -> None:
    source = f"""{SETUP}
        mov x10, #{RETIRED}
        msr pmevtyper5_el0, x10
        ldr x10, =0xffffff00
        msr pmevcntr5_el0, x10
        mov x10, #32
        msr pmcntenset_el0, x10
        msr pmintenset_el1, x10
        mov x10, #1
        msr pmcr_el0, x10
        {WORK}
        mrs x5, pmovsset_el0
    2:  mrs x6, isr_el1
        cbz x6, 2b
        mov x10, #32
        msr pmovsclr_el0, x10
        mrs x7, pmovsclr_el0
        mrs x8, isr_el1
        {STOP}{VECTORS}"""
    with run(engine, source, tmp_path) as machine:
        assert (machine.x(5), machine.x(6), machine.x(7), machine.x(8)) == (32, 1 << 7, 0, 0)
        assert machine.outputs == [1 << 4, 0]


@engines
def test_programs_may_if_they_are_let(engine: str, tmp_path: Path) -> None:
    source = f"""{SETUP}
        mov x10, #4                  // PMUSERENR_EL0.CR: the cycle counter may be read
        msr pmuserenr_el0, x10
        msr spsr_el1, xzr
        adr x10, user
        msr elr_el1, x10
        eret
    user:
        mrs x1, pmuserenr_el0
        mrs x2, pmccntr_el0
        mov x3, x25
        mrs x2, pmcr_el0
        mov x4, x25
        mov x5, x21
        msr pmccntr_el0, x2
        mov x6, x25
        mov x26, #1
        svc #0
        {VECTORS}"""
    with run(engine, source, tmp_path) as machine:
        assert (machine.x(1), machine.x(3), machine.x(4), machine.x(6)) == (4, 0, 1, 2)
        assert machine.x(5) >> 26 == 0x18


def test_there_are_as_many_counters_as_is_said() -> None:
    assert len([name for name in REGISTERS if name.startswith("pmevcntr")]) == COUNTERS
    assert len([name for name in REGISTERS if name.startswith("pmevtyper")]) == COUNTERS
