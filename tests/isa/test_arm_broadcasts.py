"""What one vCPU tells all to forget is forgotten when its DSB is done (B2.3.12, D8.16).

One vCPU takes two pages away, each time by another TLBI, poisons the memory that they were, maps
other memory there, and changes a function. The others read the pages, store into them and call the
function. They must never see the poison or an older function than they know of, nor may a store of
theirs come into what was taken away.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from bimetal import Machine
from bimetal.accel.interp import InterpAccelerator
from bimetal.accel.jit import JitAccelerator
from bimetal.backends.chars.null import NoChars
from bimetal.base.clock import RealClock
from bimetal.codegen.policy import USUAL, stressed
from bimetal.seam import Accelerator
from tests.host import programs

from .arm_machine import ASSEMBLER, LINKER, assemble

pytestmark = programs(ASSEMBLER, LINKER)

LAPS = {"interp": 100, "jit": 100, "everything": 30}
LONG = 1000
IS = {"entry": "", "domain": "is", "invalidate": "ic ivau, x7"}
LIMIT = 280
"""Seconds for some laps: on a busy host all of them may take any time."""

FORCED = """
    mov x0, #1 << 31
    orr x0, x0, #1 << 9
    msr hcr_el2, x0
    adr x0, 1f
    msr elr_el2, x0
    mov x0, #0x3c5
    msr spsr_el2, x0
    eret
1:
"""
"""How EL2 becomes EL1 whose maintenance is broadcast (HCR_EL2.FB)."""

PROGRAM = """
    .equ window, 0x80000000      // two pages
    .equ finisher, 0x9100000
    .equ serial, 0x9000000
start:
    {entry}
    mrs x0, mpidr_el1
    ands x0, x0, #15
    b.ne reader
    adr x0, level1
    adr x1, level2
    adr x2, level3
    ldr x3, =0x401
    str x3, [x0]                 // devices
    ldr x3, =0x40000705
    str x3, [x0, #8]             // memory, with normal attributes
    orr x3, x1, #3
    str x3, [x0, #16]
    orr x3, x2, #3
    str x3, [x1]
    mov x3, #1
    adr x0, ready
    stlr x3, [x0]
    bl on
    mov x19, #1                  // laps
lap:
    adr x2, level3
    str xzr, [x2]
    str xzr, [x2, #8]
    dsb ishst
    ldr x4, =0x0001000000080000  // ASID 1, and the number of the page
    and x3, x19, #7
    cmp x3, #1
    b.eq by_range
    cmp x3, #2
    b.eq by_space
    cmp x3, #3
    b.eq all
    tlbi vale1{domain}, x4
    add x4, x4, #1
    tlbi vae1{domain}, x4
    b gone
by_range:
    orr x4, x4, #1 << 46         // of 4 KiB: two pages
    tlbi rvale1{domain}, x4
    b gone
by_space:
    tlbi aside1{domain}, x4
    b gone
all:
    tlbi vmalle1{domain}
gone:
    dsb ish
    mov x5, #-1
    cbz x20, fresh               // the frames that were there
    str x5, [x20]
    str x5, [x20, #4096]
    str x5, [x20, #8]
    str x5, [x20, #4104]
fresh:
    mov x6, #16                  // what was taken a lap ago has been left alone
2:  cbz x21, 3f
    ldr x7, [x21, #8]
    cmp x7, x5
    b.ne stored
    ldr x7, [x21, #4104]
    cmp x7, x5
    b.ne stored
    subs x6, x6, #1
    b.ne 2b
3:  mov x21, x20
    adr x20, frames
    and x3, x19, #3
    add x20, x20, x3, lsl #13
    str x19, [x20]
    str x19, [x20, #4096]
    mov x3, #0xf07               // one's own, inner shareable, accessed, of all levels
    orr x3, x3, x20
    str x3, [x2]
    add x3, x3, #4096
    str x3, [x2, #8]
    // movz x0, #lap
    adr x7, function
    ldr w8, =0xd2800000
    orr w8, w8, w19, lsl #5
    str w8, [x7]
    dc cvau, x7
    dsb ish
    {invalidate}
    dsb ish
    isb
    adr x7, known
    stlr x19, [x7]
    // Until a reader has seen the page, so that its TLB holds it.
    adr x9, progress
    udiv x3, x19, x22
    msub x3, x3, x22, x19        // a reader in turn
    add x9, x9, x3, lsl #3
    ldar x8, [x9]
4:  yield
    ldar x7, [x9]
    adr x10, failed
    ldr x10, [x10]
    cbnz x10, over
    sub x7, x7, x8
    cmp x7, #2
    b.lo 4b
    add x19, x19, #1
    tst x19, #15
    b.ne 7f
    ldr x4, =serial              // it gets on
    mov w5, #'.'
    strb w5, [x4]
7:  ldr x3, ={laps}
    cmp x19, x3
    b.ls lap
over:
    adr x10, failed
    ldr x10, [x10]
    ldr w5, =0x5555
    lsl w6, w10, #16
    movk w6, #0x3333
    cmp x10, #0
    csel w5, w5, w6, eq
    ldr x4, =finisher
    str w5, [x4]
    b over
stored:
    mov x0, #3
    b fail

reader:
    mov x19, x0
    adr x1, ready
1:  yield
    ldar x0, [x1]
    cbz x0, 1b
    bl on
    sub x19, x19, #1
    adr x18, progress
    add x18, x18, x19, lsl #3
    ldr x17, =window
    adr x16, function
    mov x15, #0
5:  mov x9, #0
    ldr x9, [x17]
    cmn x9, #1
    mov x0, #1
    b.eq fail
    mov x9, #0
    ldr x9, [x17, #4096]
    cmn x9, #1
    b.eq fail
    str x15, [x17, #8]
    str x15, [x17, #4104]
    adr x10, known
    ldar x11, [x10]
    isb
    blr x16
    cmp x0, x11
    mov x0, #2
    b.lo fail
    add x15, x15, #1
    stlr x15, [x18]
    tst x15, #0xff
    b.ne 5b
    ldr x4, =serial
    ldr w5, [x4, #24]            // a device now and then
    b 5b
fail:
    adr x10, failed
    str x0, [x10]
6:  wfi
    b 6b

on: // translation, and handlers of what is not mapped
    adr x0, level1
    mov x1, #1 << 48
    orr x0, x0, x1
    msr ttbr0_el1, x0
    ldr x0, =0x00000002b5193519
    msr tcr_el1, x0
    mov x0, #0xff00
    msr mair_el1, x0
    adr x0, vectors
    msr vbar_el1, x0
    tlbi vmalle1
    dsb sy
    isb
    mrs x0, sctlr_el1
    orr x0, x0, #1
    msr sctlr_el1, x0
    isb
    mov x22, #{cpus} - 1
    ret
    .ltorg
    .balign 2048
vectors:
    .space 512
    mrs x28, elr_el1
    add x28, x28, #4
    msr elr_el1, x28
    eret
    .balign 64
ready: .quad 0
known: .quad 0
failed: .quad 0
progress: .space 64
    .balign 4096
function:
    mov x0, #0
    ret
    .balign 4096
level1: .space 4096
level2: .space 4096
level3: .space 4096
    .balign 8192
frames: .space 8 * 4096
"""


def accelerator(engine: str, cpus: int, clock: RealClock, hypervisor: bool) -> Accelerator:
    if engine == "interp":
        return InterpAccelerator("aarch64", clock=clock, cpus=cpus, hypervisor=hypervisor)
    policy = USUAL if engine == "jit" else stressed(engine)
    return JitAccelerator("aarch64", clock=clock, cpus=cpus, policy=policy, hypervisor=hypervisor)


def last_code(vm: Machine) -> int:
    """The code that it ends with, for which we wait while it gets on."""
    told = None
    while told != (told := vm.console.log):
        with suppress(TimeoutError):
            return vm.wait(LIMIT).code
    raise TimeoutError(f"no laps for {LIMIT} s, after {told!r}")


def run_laps(engine: str, cpus: int, laps: int, folder: Path, *, forced: bool = False) -> None:
    """Run the program to its end, which is one without faults; with instructions for one processor
    alone that EL2 has ``forced`` to be broadcast."""
    told = {"entry": FORCED, "domain": "", "invalidate": "ic iallu"} if forced else IS
    kernel = folder / "program"
    kernel.write_bytes(assemble(PROGRAM.format(cpus=cpus, laps=laps, **told), folder))
    clock = RealClock()
    board = "arm-virt,virtualization=on" if forced else "arm-virt"
    accel = accelerator(engine, cpus, clock, forced)
    with Machine(
        board, kernel=kernel, kernel_format="raw", bios="none", cpus=cpus, clock=clock,
        accel=accel, serial=NoChars(),
    ) as vm:  # fmt: skip
        vm.start()
        assert last_code(vm) == 0


@pytest.mark.parametrize(("engine", "cpus"), [("interp", 4), ("jit", 3), ("everything", 2)])
def test_nothing_old_is_seen(engine: str, cpus: int, tmp_path: Path) -> None:
    run_laps(engine, cpus, LAPS[engine], tmp_path)


@pytest.mark.parametrize(("engine", "cpus"), [("interp", 3), ("jit", 2)])
def test_a_hypervisor_has_all_forget(engine: str, cpus: int, tmp_path: Path) -> None:
    run_laps(engine, cpus, LAPS[engine], tmp_path, forced=True)


@pytest.mark.slow
@pytest.mark.parametrize("cpus", [2, 3, 4])
@pytest.mark.parametrize("engine", ["interp", "jit"])
def test_nothing_old_is_seen_for_long(engine: str, cpus: int, tmp_path: Path) -> None:
    run_laps(engine, cpus, LONG, tmp_path)
