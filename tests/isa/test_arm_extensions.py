"""Extensions that QEMU 7.2's user emulation lacks, or tells nothing of: copies and sets of memory
beside a model of them, random numbers, and what restricts speculation; under every engine."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.host import programs

from .arm_machine import ASSEMBLER, BASE, ENGINES, SIZE, Run, run

pytestmark = [programs(ASSEMBLER), pytest.mark.parametrize("engine", ENGINES)]

AREA, BYTES = BASE + 0x10_0000, 0x6000

# Synchronous exceptions, at EL1 and from EL0, leave what there is to know in x20 to x23.
HANDLERS = """
    .balign 2048
vectors:
    .balign 512
    .space 512
same:
    mrs x21, esr_el1
    mrs x22, far_el1
    mrs x23, elr_el1
    mov x20, #1
    wfi
    b .
    .space 512 - 24
user:
    mrs x21, esr_el1
    mrs x22, far_el1
    mrs x23, elr_el1
    mov x20, #2
    wfi
    b .
"""
SETUP = """
    .arch armv8.8-a+mops
    mov x20, #0
    adr x19, vectors
    msr vbar_el1, x19
"""
FAULT, MISMATCH, CALL, UNDEFINED = 0x25, 0x27, 0x15, 0


@contextmanager
def started(engine: str, program: str, folder: Path) -> Iterator[Run]:
    """A machine with a program whose exceptions are recorded, before it is run."""
    with run(engine, f"{SETUP}{program}\n mrs x24, nzcv\n wfi\n b .\n{HANDLERS}", folder) as made:
        yield made


def fill(machine: Run, rng: random.Random) -> bytearray:
    """Random bytes for the area; a copy of them."""
    content = bytearray(rng.randbytes(BYTES))
    machine.memory(AREA, BYTES)[:] = content
    return content


SIZES = (0, 1, 3, 15, 16, 17, 63, 64, 65, 129, 300)
DISTANCES = (-4096, -100, -64, -15, -1, 1, 8, 16, 63, 65, 200)
LONG = ((4099, -100), (4099, 8), (4099, 5000))


@pytest.mark.parametrize("name", ["cpy{}", "cpyf{}", "cpy{}wtn", "cpyf{}rt"])
def test_copies(name: str, engine: str, tmp_path: Path) -> None:
    program = "".join(f"{name.format(part)} [x0]!, [x1]!, x2!\n" for part in "pme")
    rng = random.Random(name)
    with started(engine, program, tmp_path) as machine:
        for size, distance in (*itertools.product(SIZES, DISTANCES), *LONG):
            if size > abs(distance) and name.startswith("cpyf") and distance > 0:
                continue  # forward only: what it reads, it has overwritten
            content = fill(machine, rng)
            source = 0x1000 + rng.randrange(0xF00, 0x1000)  # so that some go over pages
            target = source + distance
            machine.until_halt(x0=AREA + target, x1=AREA + source, x2=size)
            content[target : target + size] = content[source : source + size]
            assert machine.memory(AREA, BYTES) == content, (size, distance)
            assert machine.x(20) == machine.x(2) == 0
            backwards = not name.startswith("cpyf") and 0 < distance < size
            ended = 0 if backwards else size
            assert machine.x(0) == AREA + target + ended
            assert machine.x(1) == AREA + source + ended
            assert machine.x(24) == (backwards << 31 | 1 << 29)


@pytest.mark.parametrize("name", ["set{}", "set{}tn"])
def test_sets(name: str, engine: str, tmp_path: Path) -> None:
    program = "".join(f"{name.format(part)} [x0]!, x2!, x1\n" for part in "pme")
    rng = random.Random(name)
    with started(engine, program, tmp_path) as machine:
        for size in SIZES:
            content = fill(machine, rng)
            target, byte = 0x1000 + rng.randrange(0xF00, 0x1000), rng.getrandbits(64)
            machine.until_halt(x0=AREA + target, x1=byte, x2=size)
            content[target : target + size] = bytes([byte & 0xFF]) * size
            assert machine.memory(AREA, BYTES) == content, size
            assert (machine.x(0), machine.x(2)) == (AREA + target + size, 0)
            assert machine.x(24) == 1 << 29


def test_a_prologue_says_the_size_that_is_possible(engine: str, tmp_path: Path) -> None:
    program = "cpyfp [x0]!, [x1]!, x2!\nsetp [x3]!, x5!, x4\ncpyp [x6]!, [x7]!, x8!\n"
    with started(engine, program, tmp_path) as machine:
        for size in ((1 << 64) - 1, 1 << 63, (1 << 63) - 1, 1 << 55, (1 << 55) - 1):
            machine.until_halt(x2=size, x5=size, x8=size)
            most = min(size, (1 << 63) - 1)
            assert (machine.x(2), machine.x(5)) == (most, most)
            assert machine.x(8) == (1 << 55) - 1


@pytest.mark.parametrize("program", ["cpyfp [x0]!, [x1]!, x2!; cpyfm [x0]!, [x1]!, x2!",
                                     "setp [x0]!, x2!, x1; setm [x0]!, x2!, x1"])  # fmt: skip
def test_a_fault_in_the_middle_leaves_what_is_to_be_done(
    program: str, engine: str, tmp_path: Path
) -> None:
    end, size, before = BASE + SIZE, 500, 201
    with started(engine, program.replace("; ", "\n") + "\n", tmp_path) as machine:
        machine.memory(AREA, size)[:] = bytes([7]) * size
        machine.until_halt(x0=end - before, x1=AREA if "cpy" in program else 7, x2=size)
        done = size - machine.x(2)
        assert (machine.x(20), machine.x(21) >> 26, machine.x(22)) == (1, FAULT, end)
        assert machine.x(21) & 1 << 6  # by a store
        assert 0 < done <= before
        assert machine.x(0) == end - before + done
        assert machine.memory(end - before, done) == bytes([7]) * done


@pytest.mark.parametrize(
    ("instruction", "what"),
    [
        ("cpym [x3]!, [x4]!, x5!", 0), ("cpyfertwn [x3]!, [x4]!, x5!", 6 << 19 | 1 << 18),
        ("setmt [x3]!, x5!, x4", 1 << 24 | 1 << 19), ("setmn [x3]!, x5!, x4", 1 << 24 | 2 << 19),
        ("sete [x3]!, x5!, x4", 1 << 24 | 1 << 18),
    ],
)  # fmt: skip
def test_registers_in_the_other_format_are_told_of(
    instruction: str, what: int, engine: str, tmp_path: Path
) -> None:
    with started(engine, f"msr nzcv, xzr\nhere: {instruction}\n", tmp_path) as machine:
        assert (machine.x(20), machine.x(21) >> 26) == (1, MISMATCH)
        assert machine.x(21) & 0x1FF_FFFF == what | 1 << 17 | 3 << 10 | 4 << 5 | 5


@pytest.mark.parametrize("allowed", [False, True])
def test_a_process_copies_if_it_may(allowed: bool, engine: str, tmp_path: Path) -> None:
    program = f"""
        mrs x9, sctlr_el1
        mov x10, #{int(allowed)}
        bfi x9, x10, #33, #1
        msr sctlr_el1, x9
        adr x9, process
        msr elr_el1, x9
        msr spsr_el1, xzr
        eret
    process:
        setp [x0]!, x2!, x1
        setm [x0]!, x2!, x1
        sete [x0]!, x2!, x1
        svc #0
    """
    with started(engine, program, tmp_path) as machine:
        machine.until_halt(x0=AREA, x1=0x55, x2=33)
        assert (machine.x(20), machine.x(21) >> 26) == (2, CALL if allowed else UNDEFINED)
        assert machine.memory(AREA, 33) == bytes([0x55 if allowed else 0]) * 33


def test_random_numbers_differ(engine: str, tmp_path: Path) -> None:
    program = ".arch_extension rng\nmov x9, #-1\nmsr nzcv, x9\nmrs x0, rndr\nmrs x1, rndrrs\n"
    with started(engine, program, tmp_path) as machine:
        drawn = {machine.x(0), machine.x(1)}
        machine.until_halt()
        assert len(drawn | {machine.x(0), machine.x(1)}) == 4
        assert machine.x(24) == 0


def test_speculation_is_restricted(engine: str, tmp_path: Path) -> None:
    program = """
        .arch_extension sb
        .arch_extension predres
        .arch_extension ssbs
        sb
        cfp rctx, x0
        dvp rctx, x0
        cpp rctx, x0
        msr ssbs, #1
        mrs x1, ssbs
        mrs x9, sctlr_el1
        orr x9, x9, x0
        msr sctlr_el1, x9
        msr ssbs, #0
        udf #0
    """
    with started(engine, program, tmp_path) as machine:
        # An exception sets it as SCTLR_EL1.DSSBS says.
        for dssbs in (0, 1):
            machine.until_halt(x0=dssbs << 44)
            assert machine.x(1) == 1 << 12
            assert machine.cpu.read_register("ssbs") == dssbs << 12
