"""Alignment checks of AArch64: by SCTLR_ELx.A, of Device memory, the stack pointer, the PC."""

from __future__ import annotations

from pathlib import Path

import pytest

from bimetal.accel.interp import InterpCpu
from tests.host import programs

from .arm_machine import ASSEMBLER, BASE, ENGINES, LINKER, run
from .test_arm_system import MEMORY, SETUP, TABLES, VECTORS

pytestmark = programs(ASSEMBLER, LINKER)
everywhere = pytest.mark.parametrize("engine", ENGINES)
with_tlbs = pytest.mark.parametrize("engine", ENGINES[1:])

STOP = "1: wfi\n b 1b\n .ltorg\n"
LOAD, STORE = 0x9600_0021, 0x9600_0061
"""Syndromes of alignment faults from the same level."""
STACK = 0x9A00_0000
A, SA, SA0 = 1 << 1, 1 << 3, 1 << 4
DATA = BASE + 0x1_0000


@pytest.mark.parametrize("control", [0, A])
@everywhere
def test_misaligned_accesses_are_checked_if_asked(
    control: int, engine: str, tmp_path: Path
) -> None:
    accesses = {
        "ldr x1, [x0, #1]": LOAD, "str x1, [x0, #4]": STORE, "ldrh w1, [x0, #1]": LOAD,
        "stp x1, x2, [x3]": STORE, "ldr q0, [x0, #8]": LOAD, "ldrb w1, [x0, #3]": 0,
        "ldp x1, x2, [x0, #8]": 0, "ldr x1, [x0]": 0, "ldr x1, [x5]": LOAD,
    }  # fmt: skip
    checked = "".join(
        f"mov x21, #0\n {text}\n str x21, [x6, #{8 * n}]\n" for n, text in enumerate(accesses)
    )
    source = f"""{SETUP}
        mov x9, #3 << 20
        msr cpacr_el1, x9
        mrs x9, sctlr_el1
        mov x10, #{control}
        orr x9, x9, x10
        msr sctlr_el1, x9
        isb
        ldr x0, ={DATA}
        add x3, x0, #20
        add x5, x0, #0xffd
        add x6, x0, #0x2000
        mov x26, #0
        ldr x1, [x0]                     // translations are cached
        str x1, [x0]
        {checked}
        {STOP}{VECTORS}
    """
    with run(engine, source, tmp_path) as machine:
        found = machine.memory(DATA + 0x2000, 8 * len(accesses)).cast("Q")
        assert list(found) == [syndrome if control else 0 for syndrome in accesses.values()]


@everywhere
def test_memory_of_the_type_device_is_accessed_aligned(engine: str, tmp_path: Path) -> None:
    source = (
        SETUP
        + TABLES
        + f"""
        adr x1, level1
        ldr x2, =0x40000000 | 0x705      // attributes 1: 0 in MAIR_EL1, Device-nGnRnE
        str x2, [x1, #24]
        dsb sy
        ldr x0, =0xC0000000 + {DATA - BASE}
        ldr x7, ={DATA}
        ldr x8, =0x1122334455667788
        mov x21, #0
        str x8, [x0]
        ldr x9, [x0]
        ldr x10, [x7, #1]
        mov x11, x21                     // so far nothing
        ldr x12, [x0, #1]
        mov x13, x21
        mov x14, x22
        mov x21, #0
        add x17, x0, #0xffc
        str x8, [x17]
        mov x15, x21
        mov x21, #0
        str x8, [x0, #4]
        mov x18, x21
        mov x21, #0
        ldr x10, [x7, #1]
        mov x16, x21
        add x27, x0, #0x104
        dc zva, x27
        mov x27, x21
        mov x28, x22
        {STOP}{VECTORS}{MEMORY}
    """
    )
    with run(engine, source, tmp_path) as machine:
        assert machine.x(9) == 0x1122_3344_5566_7788
        assert machine.x(10) == 0x11_2233_4455_6677
        assert (machine.x(11), machine.x(16)) == (0, 0)
        assert (machine.x(13), machine.x(14)) == (LOAD, 0xC000_0001 + DATA - BASE)
        assert machine.x(15) == STORE
        assert machine.x(18) == STORE
        # Blocks there are not cleared (C5.3).
        assert (machine.x(27), machine.x(28)) == (STORE, 0xC000_0104 + DATA - BASE)


@with_tlbs
def test_others_in_a_page_are_no_misses(engine: str, tmp_path: Path) -> None:
    source = f"""{SETUP}
        mov x9, #3 << 20
        msr cpacr_el1, x9
        isb
        ldr x0, ={DATA}
        add x1, x0, #0xfe0
    1:  ldr x2, [x0, #1]
        ldp x2, x3, [x0]
        ldr q0, [x0, #3]
        ldp q0, q1, [x0]
        ldrsh x4, [x0]
        str x2, [x0, #1]
        stp x2, x3, [x0]
        str q0, [x0, #3]
        stp q0, q1, [x0]
        strh w4, [x0]
        add x0, x0, #3
        cmp x0, x1
        b.lo 1b
        {STOP}{VECTORS}
    """
    with run(engine, source, tmp_path) as machine:
        if isinstance(machine.cpu, InterpCpu) and "forget" not in engine:
            assert machine.cpu.counters["data TLB misses"] < 10


@everywhere
def test_devices_are_accessed_aligned(engine: str, tmp_path: Path) -> None:
    source = f"""{SETUP}
        mov x0, #0x10000000
        ldr x1, [x0]
        mov x9, x21
        ldr w1, [x0, #2]
        mov x10, x21
        {STOP}{VECTORS}
    """
    with run(engine, source, tmp_path) as machine:
        assert (machine.x(9), machine.x(10)) == (0x9600_0010, LOAD)


@pytest.mark.parametrize("control", [0, SA])
@everywhere
def test_the_stack_pointer_is_checked_as_a_base(control: int, engine: str, tmp_path: Path) -> None:
    source = f"""{SETUP}
        mrs x9, sctlr_el1
        mov x10, #{control}
        orr x9, x9, x10
        msr sctlr_el1, x9
        isb
        ldr x0, ={DATA + 8}
        mov sp, x0
        mov x21, #0
        ldr x1, [x0]
        add x1, sp, #4
        mov x9, x21
        str x0, [sp, #-8]!
        mov x10, x21
        ldr x11, ={DATA + 16}
        mov sp, x11
        mov x21, #0
        ldp x1, x2, [sp]
        mov x11, x21
        {STOP}{VECTORS}
    """
    with run(engine, source, tmp_path) as machine:
        assert (machine.x(9), machine.x(11)) == (0, 0)
        assert machine.x(10) == (STACK if control else 0)


@pytest.mark.parametrize("control", [SA, SA0])
@everywhere
def test_that_of_el0_has_a_control_of_its_own(control: int, engine: str, tmp_path: Path) -> None:
    source = f"""{SETUP}
        mrs x9, sctlr_el1
        mov x10, #{control}
        orr x9, x9, x10
        msr sctlr_el1, x9
        ldr x0, ={DATA + 8}
        msr sp_el0, x0
        adr x1, user
        msr elr_el1, x1
        msr spsr_el1, xzr
        mov x21, #0
        eret
    user:
        ldr x1, [sp]
        mov x9, x21
        mov x26, #1
        svc #0
        {STOP}{VECTORS}
    """
    with run(engine, source, tmp_path) as machine:
        assert machine.x(9) == (STACK if control == SA0 else 0)


WAYS = {
    "a branch": "br x1",
    "a call": "blr x1",
    "a return": "ret x1",
    "an exception return": "msr elr_el1, x1\n msr spsr_el1, x7\n eret",
    "an exception return to EL0": "msr elr_el1, x1\n msr spsr_el1, xzr\n eret",
}
PC_ALIGNMENT = 0x22 << 26 | 1 << 25
NOWHERE = 0x1_0000_0000


@pytest.mark.parametrize("way", WAYS)
@everywhere
def test_a_program_counter_that_is_misaligned_faults(way: str, engine: str, tmp_path: Path) -> None:
    """Wherever it leads, and before anything is fetched; three times, hot code by then."""
    places = ["adr x1, {back}", "ldr x1, =" + hex(DATA), "ldr x1, =" + hex(NOWHERE)]
    jumps = [(place, off) for place in places for off in (1, 2, 3)]
    tried = "".join(
        f"adr x28, back{n}\n {place.format(back=f'back{n}')}\n add x1, x1, #{off}\n"
        f" {WAYS[way]}\n back{n}:\n"
        for n, (place, off) in enumerate(jumps)
    )
    record = """
        mrs x21, esr_el1
        mrs x22, far_el1
        mrs x23, elr_el1
        stp x21, x22, [x6], #16
        stp x23, x1, [x6], #16
        msr elr_el1, x28
        msr spsr_el1, x7
        eret
    """
    source = f"""
        adr x0, vectors
        msr vbar_el1, x0
        ldr x6, ={DATA + 0x2000}
        mov x7, #0x3c5
        mov x5, #3
    lap: {tried}
        sub x5, x5, #1
        cbnz x5, lap
        {STOP}
        .balign 2048
    vectors: .skip 0x200
        {record}
        .balign 0x200
        {record}
    """
    with run(engine, source, tmp_path) as machine:
        found = list(machine.memory(DATA + 0x2000, 32 * 3 * len(jumps)).cast("Q"))
        for at, (_, off) in zip(range(0, len(found), 4), jumps * 3, strict=True):
            syndrome, far, elr, aimed_at = found[at : at + 4]
            assert (syndrome, far, elr) == (PC_ALIGNMENT, aimed_at, aimed_at)
            assert aimed_at % 4 == off
