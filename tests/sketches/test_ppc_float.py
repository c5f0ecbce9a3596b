"""The floating point of PowerPC: its NaNs, FPSCR, tininess, on every accelerator, beside QEMU."""

from __future__ import annotations

import struct
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from bimetal.ir.softfloat import DOUBLE
from tests.host import program_path, programs

from .operands import tuples
from .ppc.machine import begin, lines
from .ppc.programs import CODE, DATA, elf
from .sketched import Sketched, machines

machine = machines("ppc64-sketch", ("reference", "interp", "optimise"))
OPERATIONS = (
    "fadd f5, f1, f2",
    "fsub f5, f1, f2",
    "fmul f5, f1, f2",
    "fdiv f5, f1, f2",
    "fsqrt f5, f2",
    "fmadd f5, f1, f2, f3",
)
CONTROLS = range(8)
"""Of FPSCR: RN, and NI."""
ROWS = 40
RESULTS_SIZE = 16 * ROWS * len(CONTROLS)
COMPARED = 0x3E00_0007
"""VX, OX, UX, ZX, XX and what was set."""


def program(operation: str) -> bytes:
    """For each control, an operation for each of its rows in the table behind the program: FPSCR,
    then three operands a row. The results and FPSCR go to `DATA`."""
    body = (
        "lfd f1, 0(r7)", "lfd f2, 8(r7)", "lfd f3, 16(r7)", "mtfsf 255, f4", operation,
        "mffs f6", "stfd f5, 0(r8)", "stfd f6, 8(r8)", "addi r7, r7, 24", "addi r8, r8, 16",
    )  # fmt: skip
    setup = ("lfd f4, 0(r7)", "addi r7, r7, 8", f"addi r30, 0, {ROWS}", "mtctr r30")
    write = (
        "addi r0, 0, 4",
        "addi r3, 0, 1",
        "ori r4, r9, 0",
        f"addi r5, 0, {RESULTS_SIZE}",
        "sc 0",
    )
    leave = ("addi r0, 0, 1", "addi r3, 0, 0", "sc 0")
    count = 4 + len(CONTROLS) * (len(setup) + len(body) + 1) + len(write) + len(leave)
    table = CODE + 4 * count + 4 * (count % 2)
    start = (
        f"addis r7, 0, {table >> 16}", f"ori r7, r7, {table & 0xFFFF}",
        f"addis r8, 0, {DATA >> 16}", "ori r9, r8, 0",
    )  # fmt: skip
    code = lines(*start, at=CODE)
    for _ in CONTROLS:
        code += lines(*setup, at=CODE + len(code))
        loop = CODE + len(code)
        code += lines(*body, f"bc 16, 0, {loop:#x}", at=loop)
    code += lines(*write, *leave, at=CODE + len(code))
    return code + bytes(table - CODE - len(code))


def rows_of(control: int) -> list[tuple[int, ...]]:
    return tuples(DOUBLE, 3, ROWS, seed=control)


def table(little: bool) -> bytes:
    order = "<" if little else ">"
    return b"".join(
        struct.pack(f"{order}Q", control)
        + b"".join(struct.pack(f"{order}3Q", *row) for row in rows_of(control))
        for control in CONTROLS
    )


@cache
def by_qemu(operation: str, little: bool) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "program"
        file.write_bytes(elf(program(operation), little, table(little)))
        file.chmod(0o755)
        emulator = program_path("qemu-ppc64le-static" if little else "qemu-ppc64-static")
        return subprocess.run([emulator, file], capture_output=True, check=True, timeout=60).stdout


def results(memory: bytes, little: bool) -> Iterator[tuple[int, int]]:
    """Each number, and of FPSCR what is compared."""
    for value, status in struct.iter_unpack("<QQ" if little else ">QQ", memory):
        yield value, status & COMPARED


@pytest.mark.parametrize("little", [False, True], ids=["big", "little"])
@pytest.mark.parametrize("operation", OPERATIONS)
@programs("qemu-ppc64-static", "qemu-ppc64le-static")
def test_agrees_with_qemu(machine: Sketched, operation: str, little: bool) -> None:
    code = program(operation)
    begin(machine, code, little)
    machine.put(CODE + len(code), table(little))
    machine.finish()
    ours = results(machine.get(DATA, RESULTS_SIZE), little)
    theirs = results(by_qemu(operation, little), little)
    given = [(control, *row) for control in CONTROLS for row in rows_of(control)]
    for case, our, their in zip(given, ours, theirs, strict=True):
        assert tuple(map(hex, our)) == tuple(map(hex, their)), tuple(map(hex, case))
