"""Accesses through translation tables at random: their exceptions, beside QEMU's system emulation.

The same program makes loads and stores of all kinds, atomic updates, maintenance of caches by
address, and jumps, at EL0, EL1 and EL2, a host's too, with one stage of translation and two. What
each exception tells, and to whom, what was loaded, and what memory holds in the end, tables
included, has to be the same.

pytest -m slow tests/isa/test_arm_accesses.py      # for longer
"""

from __future__ import annotations

import mmap
import random
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.host import programs

from .arm_machine import ASSEMBLER, BASE, LINKER, Run, assemble
from .arm_results import QEMU
from .random_accesses import (
    CASE,
    CASES_AT,
    CODE_AT,
    FOUND_AT,
    KINDS,
    MEMORY,
    PAGE_AT,
    REGISTERS,
    ROOM,
    STUB,
    TABLES_AT,
    ZEROES,
    AccessCase,
    Operation,
)

pytestmark = programs(ASSEMBLER, LINKER, QEMU)

STUBS = 0x1100
"""Where the accesses stand in the code that is mapped."""

PROGRAM = f"""
    b start                      // where memory begins
    .balign {CODE_AT - BASE}
start:
    ldr x19, ={CASES_AT}
    ldr x21, ={FOUND_AT}
    mov x25, #0x30c50000
    movk x25, #0x0830            // SCTLR_EL2 without translation
    mov x17, #1 << 31            // HCR_EL2 for this program
    adr x0, page + 0x800
    msr vbar_el2, x0
    mov x0, #3 << 20
    msr cpacr_el1, x0
    mov x24, #1
next:
    msr hcr_el2, x17
    isb
    {{registers}}
    ldp x26, x27, [x19, #{8 * len(REGISTERS)}]
    ldr x22, [x19, #{8 * len(REGISTERS) + 16}]
    cbz x22, done
    add x20, x19, #{8 * len(REGISTERS) + 24}
    mrs x18, hcr_el2
    isb
    tlbi alle1
    tlbi alle2
    dsb sy
    isb
access:
    ldp x0, x6, [x20], #16
    mov x7, #{STUBS}
    add x7, x7, x27
    lsr x8, x6, #32
    add x7, x7, x8, lsl #{STUB.bit_length() - 1}
    msr hcr_el2, x18
    msr elr_el2, x7
    mov w6, w6
    msr spsr_el2, x6
    mov x3, #0x33
    mov x5, #0x55
    add x24, x24, #1
    and x24, x24, #0x7fff
    mov x4, x24
    b launch
taken:
    mrs x8, hpfar_el2
    mrs x9, esr_el2
    mrs x10, far_el2
    mrs x11, elr_el2
    mrs x12, spsr_el2
    mov x13, #2
    lsr x14, x9, #26
    cmp x14, #0x16               // EL1 passes on what it takes
    b.ne 1f
    msr hcr_el2, x17
    isb
    mov x8, #0
    mrs x9, esr_el1
    mrs x10, far_el1
    mrs x11, elr_el1
    mrs x12, spsr_el1
    mov x13, #1
1:  orr x12, x12, x13, lsl #32
    stp x9, x10, [x21], #16
    stp x8, x11, [x21], #16
    stp x12, x0, [x21], #16
    stp x3, x5, [x21], #16
    subs x22, x22, #1
    b.ne access
    add x19, x19, #{CASE}
    b next
done:
    cbnz x28, wait               // nobody listens
    ldr x0, =0x84000008
    smc #0
wait:
    wfi
    b wait
    .ltorg
    .balign {PAGE_AT - CODE_AT}
page:                            // the vectors of EL1
    .space 0x200
    hvc #0
    .space 0x1fc
    hvc #0
    .balign 0x800                // those of EL2
    .space 0x200
    msr sctlr_el2, x25
    isb
    b taken
    .space 0x1f4
    msr sctlr_el2, x25
    isb
    b taken
    .balign 0x800
launch:
    msr sctlr_el2, x26
    isb
    eret
    .balign 0x100
stubs:
    {{stubs}}
    .balign 0x1000
"""


def program(folder: Path) -> bytes:
    registers = "\n".join(
        f"ldr x4, [x19, #{8 * n}]\n msr {name}, x4" for n, name in enumerate(REGISTERS)
    )
    stubs = "\n".join(f".balign {STUB}\n {kind.text}\n svc #0" for kind in KINDS)
    return assemble(PROGRAM.format(registers=registers, stubs=stubs), folder)


def image(seed: int, count: int, folder: Path) -> tuple[bytearray, list[AccessCase]]:
    """A program with its cases."""
    memory = bytearray(TABLES_AT - BASE + count * ROOM)
    code = program(folder)
    memory[: len(code)] = code
    cases = []
    for number in range(count):
        chance = random.Random(seed * 1000 + number)
        case = AccessCase(chance, memory, TABLES_AT + number * ROOM, ROOM)
        case.write(CASES_AT + number * CASE)
        cases.append(case)
    return memory, cases


def qemus(memory: bytes | bytearray, folder: Path) -> mmap.mmap:
    """What memory holds when QEMU's processor has come to the end. There is another, which sleeps:
    alone, it makes an atomic update of a load and a store."""
    file = folder / "memory"
    with file.open("wb") as out:
        out.write(memory)
        out.truncate(MEMORY)
    subprocess.run(
        [QEMU, "-M", "virt,virtualization=on,gic-version=3,highmem=off,memory-backend=ram",
         "-cpu", "max", "-m", f"{MEMORY >> 20}", "-smp", "2", "-display", "none",
         "-monitor", "none", "-serial", "none", "-object",
         f"memory-backend-file,id=ram,size={MEMORY},mem-path={file},share=on",
         "-device", f"loader,addr={CODE_AT:#x},cpu-num=0"],
        check=True, timeout=60, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    with file.open("rb") as found:
        return mmap.mmap(found.fileno(), 0, prot=mmap.PROT_READ)


@dataclass(frozen=True, slots=True)
class Answer:
    """What has become of an access."""

    esr: int
    far: int
    hpfar: int
    elr: int
    pstate: int
    base: int
    loaded: int
    second: int

    @property
    def level(self) -> int:
        """The exception level that has been told."""
        return self.pstate >> 32

    @property
    def status(self) -> int:
        """The fault status code."""
        return self.esr & 0x3F

    def __str__(self) -> str:
        return (f"EL{self.level} esr={self.esr:#x} far={self.far:#x} hpfar={self.hpfar:#x} "
                f"elr={self.elr:#x} spsr={self.pstate & 0xFFFFFFFF:#x} x0={self.base:#x} "
                f"x3={self.loaded:#x} x5={self.second:#x}")  # fmt: skip


def answers(memory: memoryview | mmap.mmap, cases: list[AccessCase]) -> Iterator[Answer]:
    size = 64 * sum(len(case.operations) for case in cases)
    found = bytes(memory[FOUND_AT - BASE : FOUND_AT - BASE + size])
    for words in struct.iter_unpack("<8Q", found):
        yield Answer(*words)


ABORTS = FETCH_ABORT, _, DATA_ABORT, DATA_ABORT_SAME = 0x20, 0x21, 0x24, 0x25
PC_ALIGNMENT, SVC, UNDEFINED = 0x22, 0x15, 0x00
WRITES, S1PTW, CM = 1 << 6, 1 << 7, 1 << 8
OF_INSTRUCTION = 0x7FF << 14  # ISV, SAS, SSE, SRT, SF, AR
OF_JUMP = 3 << 10  # PSTATE.BTYPE
AF, READABLE = 1 << 10, 1 << 6  # of stage 2
EXTERNAL, ALIGNMENT, PERMISSION, LEVEL = 0x10, 0x21, 0xC, 3
BLOCK = 64
"""Bytes that DC ZVA clears."""


def comparable(op: Operation, case: AccessCase, mine: Answer, theirs: Answer) -> list[Answer]:
    """What the manual promises of two answers, and QEMU 7.2 does."""
    what = mine.esr >> 26
    of_stage_2 = mine.level == 2 and case.regime == "el1" and what in (0x20, 0x24)
    esr, far = (1 << 64) - 1, what in (*ABORTS, PC_ALIGNMENT)
    if what in (DATA_ABORT, DATA_ABORT_SAME) and not of_stage_2:
        # QEMU tells EL2 of any instruction; the manual has it for stage 2 alone (D17.2.37).
        esr &= ~OF_INSTRUCTION
    if of_stage_2 and mine.esr & S1PTW:
        esr &= ~LEVEL  # QEMU tells that of stage 1
    low = 0xFFF if mine.status == EXTERNAL else 0  # which QEMU has of a part of the access
    pstate = ~OF_JUMP if what == UNDEFINED else -1  # known in guarded pages alone
    if op.kind.what == "atomic" and what in (DATA_ABORT, DATA_ABORT_SAME):
        # Of what a load cannot do WnR is 0 (D17.2.37); QEMU takes all for stores.
        esr &= ~WRITES
    return [
        replace(
            answer,
            esr=answer.esr & esr,
            far=answer.far & ~low if far else 0,
            hpfar=answer.hpfar if of_stage_2 else 0,
            pstate=answer.pstate & pstate,
        )
        for answer in (mine, theirs)
    ]


def by_manual(op: Operation, mine: Answer) -> bool:
    """What QEMU does not tell: a fault of maintenance says so, and a store (D17.2.37); one of an
    atomic update is a load's where that would have it."""
    if mine.esr >> 26 not in (DATA_ABORT, DATA_ABORT_SAME):
        return True
    if op.kind.what == "maintenance":
        return mine.esr & (WRITES | CM | OF_INSTRUCTION) == WRITES | CM
    return op.kind.what != "atomic" or mine.status & 0x3C == PERMISSION or not mine.esr & WRITES


def otherwise(op: Operation, case: AccessCase, mine: Answer, theirs: Answer) -> bool:
    """Whether QEMU 7.2 does what the manual does not have."""
    told = mine.esr >> 26
    if told == FETCH_ABORT and mine.level == 2 and case.regime == "el1":
        # Nothing is executed that stage 2 lets nobody read (D8.4.2).
        return mine.status & PERMISSION == PERMISSION
    if told in ABORTS[:2] and theirs.esr >> 26 == UNDEFINED:
        # QEMU has looked it up before a store, which made it writable.
        return bool(mine.status & PERMISSION == PERMISSION and case.registers["tcr_el1"] >> 40 & 1)
    if op.kind.what == "maintenance":
        return theirs.esr >> 26 == SVC  # it does nothing for them
    if op.kind.name == ZEROES and mine.status == ALIGNMENT:
        # It clears Device memory too (C5.3).
        return theirs.esr >> 26 == SVC
    if told == PC_ALIGNMENT:
        # This comes before what keeps the instruction from being fetched (D1.3.5.5).
        return theirs.esr >> 26 in ABORTS[:2] and mine.far == theirs.far
    return False


def differences(
    mine: memoryview, other: memoryview | mmap.mmap, cases: list[AccessCase]
) -> Iterator[str]:
    """Where two differ, in words."""
    pairs = zip(answers(mine, cases), answers(other, cases), strict=True)
    for number, case in enumerate(cases):
        said = " ".join(f"{n}={value:#x}" for n, value in case.registers.items())
        cleared = False
        for op in case.operations:
            told, theirs = next(pairs)
            ours, wanted = comparable(op, case, told, theirs)
            good = ours == wanted or otherwise(op, case, ours, wanted)
            cleared = cleared or (op.kind.name == ZEROES and ours != wanted)
            if not (good and by_manual(op, told)):
                yield (f"{number} {case.regime}: {op.kind.name} {op.address:#x} {op.pstate:#x}:\n"
                       f"      {ours}\n QEMU {wanted}\n code={case.code:#x} {said}")  # fmt: skip
        for place in (*range(case.start, case.end, 4096), *sorted(case.touched)):
            at = slice(place - BASE, place - BASE + 4096)
            here, there = bytes(mine[at]), bytes(other[at])
            if cleared:
                here = with_blocks_cleared(here, there)
            if not same_memory(here, there, place < case.end):
                yield f"{number} {case.regime}: memory at {place:#x}; {said}"


def with_blocks_cleared(mine: bytes, theirs: bytes) -> bytes:
    """A page with the blocks cleared that are clear in another."""
    empty = bytes(BLOCK)
    blocks = range(0, len(mine), BLOCK)
    return b"".join(
        empty if theirs[at : at + BLOCK] == empty else mine[at : at + BLOCK] for at in blocks
    )


def same_memory(mine: bytes, theirs: bytes, tables: bool) -> bool:
    """Whether memory holds the same. QEMU has executed what stage 2 lets nobody read, and says
    that it was accessed."""
    if mine == theirs:
        return True
    words = zip(struct.iter_unpack("<Q", mine), struct.iter_unpack("<Q", theirs), strict=True)
    return tables and all(a == b or (a ^ b == AF and not a & READABLE) for (a,), (b,) in words)


def compare(engine: str, seed: int, count: int, folder: Path) -> None:
    memory, cases = image(seed, count, folder)
    machine = Run(engine, bytes(memory), size=MEMORY, hypervisor=True)
    try:
        machine.until_halt(x28=1)
        theirs = qemus(memory, folder)
        wrong = list(differences(machine.memory(BASE, MEMORY), theirs, cases))
    finally:
        machine.close()
    assert not wrong, f"{len(wrong)}\n" + "\n".join(wrong[:8])


@pytest.mark.parametrize(("engine", "count"), [("reference", 1), ("interp", 24)])
def test_accesses_at_random(engine: str, count: int, tmp_path: Path) -> None:
    compare(engine, 1, count, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["reference", "interp", "everything", "optimise,forget"])
@pytest.mark.parametrize("seed", range(2, 8))
def test_accesses_at_random_for_long(engine: str, seed: int, tmp_path: Path) -> None:
    compare(engine, seed, 3 if engine == "reference" else 60, tmp_path)
