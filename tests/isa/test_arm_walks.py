"""Translation tables at random: what AT finds in them, beside QEMU's system emulation.

The same program asks for each address with each kind of AT, at EL2, and leaves what PAR_EL1 says;
under QEMU it tells that by the serial port. Tables are of all granules and sizes, with random
attributes, rights taken away by tables, addresses that are too large, and a second stage.

pytest -m slow tests/isa/test_arm_walks.py      # for longer
"""

from __future__ import annotations

import random
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host import programs

from .arm_machine import ASSEMBLER, BASE, LINKER, Run, assemble
from .arm_results import QEMU
from .random_tables import CASE, CASES_AT, CODE_AT, FOUND_AT, REGISTERS, ROOM, TABLES_AT, Case

pytestmark = programs(ASSEMBLER, LINKER, QEMU)

KINDS = ("s1e1r", "s1e1w", "s1e0r", "s1e0w", "s1e1rp", "s1e1wp", "s12e1r", "s12e1w", "s12e0r",
         "s12e0w")  # fmt: skip

PROGRAM = f"""
    adr x0, vectors
    msr vbar_el2, x0
    ldr x1, ={CASES_AT}
    ldr x2, ={FOUND_AT}
next:
    ldr x3, [x1, #72]
    cbz x3, done
    {{registers}}
    ldr x4, [x1, #64]
    msr pan, #0
    cbz x4, 1f
    msr pan, #1
1:  tlbi alle1
    dsb sy
    isb
    add x5, x1, #80
2:  ldr x6, [x5], #8
    {{kinds}}
    subs x3, x3, #1
    b.ne 2b
    add x1, x1, #{CASE}
    b next
done:
    cbnz x28, wait               // nobody listens
    ldr x3, ={FOUND_AT}
    ldr x4, =0x9000000
4:  cmp x3, x2
    b.eq off
    ldrb w5, [x3], #1
    strb w5, [x4]
    b 4b
off:
    ldr x0, =0x84000008
    smc #0
wait:
    wfi
    b wait
    .ltorg
    .balign 2048
vectors:                         // an external abort of the walk is an exception
    .space 512
    mrs x9, elr_el2
    add x9, x9, #4
    msr elr_el2, x9
    mrs x9, esr_el2
    msr par_el1, x9
    eret
"""


def program(folder: Path) -> bytes:
    registers = "\n".join(
        f"ldr x4, [x1, #{8 * n}]\n msr {name}, x4" for n, name in enumerate(REGISTERS)
    )
    kinds = "\n".join(f"at {kind}, x6\n isb\n mrs x7, par_el1\n str x7, [x2], #8" for kind in KINDS)
    return assemble(PROGRAM.format(registers=registers, kinds=kinds), folder)


def image(seed: int, count: int, folder: Path) -> tuple[bytes, list[Case]]:
    """A program with its cases."""
    memory = bytearray(TABLES_AT - BASE + count * ROOM)
    code = program(folder)
    for at in (0, CODE_AT - BASE):
        memory[at : at + len(code)] = code
    cases = []
    for number in range(count):
        case = Case(random.Random(seed * 1000 + number), memory, TABLES_AT + number * ROOM)
        case.write(CASES_AT + number * CASE)
        cases.append(case)
    return bytes(memory), cases


def qemus(memory: bytes, folder: Path) -> bytes:
    """What QEMU's processor finds."""
    file, out = folder / "image", folder / "found"
    file.write_bytes(memory[CODE_AT - BASE :])
    machine = "virt,virtualization=on,gic-version=3"
    subprocess.run(
        [QEMU, "-M", machine, "-cpu", "max", "-m", "512", "-display", "none", "-monitor", "none",
         "-serial", f"file:{out}", "-device", f"loader,file={file},addr={CODE_AT:#x},force-raw=on",
         "-device", f"loader,addr={CODE_AT:#x},cpu-num=0"],
        check=True, timeout=40, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return out.read_bytes()


def ours(engine: str, memory: bytes) -> bytes:
    """What ours find."""
    machine = Run(engine, memory, size=len(memory), hypervisor=True)
    try:
        machine.until_halt(x28=1)
        return bytes(machine.memory(FOUND_AT, machine.x(2) - FOUND_AT))
    finally:
        machine.close()


# What the manual leaves open of what is found: NS.
UNKNOWN, SHAREABILITY = 1 << 9, 3 << 7
OF_TABLES = 3 << 8  # S and PTW of a fault


def comparable(par: int) -> int:
    if par & 1:
        # Where stage 2 has no table of stage 1, QEMU 7.2 tells the level of that one.
        return par & ~(3 << 1) if par & OF_TABLES == OF_TABLES and par < 1 << 12 else par
    # QEMU 7.2 says of memory that is not cached what the tables say, and not 2 (C5.3).
    shared = par >> 60 == 0 or par >> 56 == 0x44
    return par & ~(UNKNOWN | (SHAREABILITY if shared else 0))


def of_device(kind: str, mine: int, theirs: int) -> bool:
    """Whether stage 2 alone has Device memory: QEMU 7.2 takes Normal memory of stage 1 that is not
    cached, 0x44, for Device-nGnRE then, by half of its type."""
    types = mine >> 56, theirs >> 56
    rest = (1 << 56) - 1 & ~SHAREABILITY
    alike = (mine & rest & ~UNKNOWN) == (theirs & rest & ~UNKNOWN)
    return kind.startswith("s12") and alike and types in ((0x08, 0x04), (0x0C, 0x04))


def differences(found: bytes, wanted: bytes, cases: list[Case]) -> Iterator[str]:
    """Where two differ, in words."""
    assert len(found) == len(wanted)
    answers = zip(struct.iter_unpack("<Q", found), struct.iter_unpack("<Q", wanted), strict=True)
    for number, case in enumerate(cases):
        for address in case.addresses:
            for kind in KINDS:
                (mine,), (theirs,) = next(answers)
                if comparable(mine) != comparable(theirs) and not of_device(kind, mine, theirs):
                    said = " ".join(f"{n}={value:#x}" for n, value in case.registers.items())
                    yield f"{number}: {kind} {address:#x}: {mine:#x}, QEMU {theirs:#x}; {said}"


def compare(engine: str, seed: int, count: int, folder: Path) -> None:
    memory, cases = image(seed, count, folder)
    wrong = list(differences(ours(engine, memory), qemus(memory, folder), cases))
    assert not wrong, "\n".join(wrong[:8])


@pytest.mark.parametrize(("engine", "count"), [("reference", 2), ("interp", 24)])
def test_tables_at_random(engine: str, count: int, tmp_path: Path) -> None:
    compare(engine, 1, count, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["reference", "interp", "everything", "optimise,forget"])
@pytest.mark.parametrize("seed", range(2, 8))
def test_tables_at_random_for_long(engine: str, seed: int, tmp_path: Path) -> None:
    compare(engine, seed, 4 if engine == "reference" else 60, tmp_path)
