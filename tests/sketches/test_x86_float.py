"""The floating point of x86: its NaNs, MXCSR with DAZ, FZ and RC, on every accelerator."""

from __future__ import annotations

import platform
import struct
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

from bimetal.ir.softfloat import DOUBLE, SINGLE, Format
from tests.host import program_path

from .operands import tuples
from .sketched import END, Sketched, machines
from .x86.programs import CODE

machine = machines("x86-sketch", ("reference", "interp", "optimise"))
TABLE, RESULTS, CONTROL = 0x2_0000, 0x3_0000, 0x1_8000
BASE, DATA = 0x40_0000, 0x42_0000
"""Where a program for Linux has its segment, and the tables in it."""
MASKED, DENORMAL = 0x1F80, 1 << 1
CONTROLS = [
    MASKED | rounding << 13 | flush << 15 | zeros << 6
    for rounding in range(4)
    for flush in (0, 1)
    for zeros in (0, 1)
]
# Of xmm0 and xmm1; the result is in xmm0, or (the conversions) in rax.
OPERATIONS: dict[str, tuple[str, Format]] = {
    "addsd xmm0, xmm1": ("f20f58c1", DOUBLE),
    "subsd xmm0, xmm1": ("f20f5cc1", DOUBLE),
    "mulsd xmm0, xmm1": ("f20f59c1", DOUBLE),
    "divsd xmm0, xmm1": ("f20f5ec1", DOUBLE),
    "sqrtsd xmm0, xmm1": ("f20f51c1", DOUBLE),
    "addss xmm0, xmm1": ("f30f58c1", SINGLE),
    "mulss xmm0, xmm1": ("f30f59c1", SINGLE),
    "divss xmm0, xmm1": ("f30f5ec1", SINGLE),
    "cvttsd2si eax, xmm1": ("f20f2cc1", DOUBLE),
    "cvttsd2si rax, xmm1": ("f2480f2cc1", DOUBLE),
    "cvttss2si eax, xmm1": ("f30f2cc1", SINGLE),
    "cvtsi2sd xmm0, rbx": ("f2480f2ac3", DOUBLE),
}
COUNTS = {"reference": 8}
"""How many pairs of operands there are for an operation and a value of MXCSR, if not `MANY`."""
MANY = 120


def program(operation: str) -> bytes:
    """Do an operation for each pair of a table, and keep its result and MXCSR."""
    code, _ = OPERATIONS[operation]
    body = (
        "488b06 488b5e08 0fae12"  # mov rax, [rsi]; mov rbx, [rsi + 8]; ldmxcsr [rdx]
        "66480f6ec0 66480f6ecb"  # movq xmm0, rax; movq xmm1, rbx
        f"{code}"
        f"{'' if operation.startswith('cvtt') else '66480f7ec0'}"  # movq rax, xmm0
        "488907 0fae5f08"  # mov [rdi], rax; stmxcsr [rdi + 8]
        "4883c610 4883c710 4839ce"  # add rsi, 16; add rdi, 16; cmp rsi, rcx
    )
    loop = bytes.fromhex(body)
    return loop + b"\x75" + struct.pack("b", -len(loop) - 2)


def results(memory: bytes, count: int) -> list[tuple[int, int]]:
    """Results and MXCSR, without what the sketch does not have."""
    pairs = struct.iter_unpack("<QQ", memory[: 16 * count])
    return [(value, status & ~DENORMAL) for value, status in pairs]


@cache
def by_processor(operation: str, most: int) -> list[list[tuple[int, int]]]:
    """The same by the host's processor, or by QEMU if that is another one; for each control."""
    tables = [b"".join(struct.pack("<QQ", *pair) for pair in pairs_of(operation, control, most))
              for control in CONTROLS]  # fmt: skip
    size = len(tables[0])
    places = [DATA + n * 2 * size for n in range(len(CONTROLS))]
    code = b"".join(
        bytes.fromhex("48be") + struct.pack("<Q", at)  # mov rsi
        + bytes.fromhex("48bf") + struct.pack("<Q", at + size)  # mov rdi
        + bytes.fromhex("48ba") + struct.pack("<Q", DATA - 4 * (n + 1))  # mov rdx
        + bytes.fromhex("48b9") + struct.pack("<Q", at + size)  # mov rcx
        + program(operation)
        for n, at in enumerate(places)
    )  # fmt: skip
    whole = 2 * size * len(CONTROLS)
    code += b"\xbe" + struct.pack("<I", DATA) + b"\xba" + struct.pack("<I", whole)
    code += bytes.fromhex("b801000000 bf01000000 0f05")  # write(1, DATA, whole)
    code += bytes.fromhex("b83c000000 31ff 0f05")  # exit(0)
    controls = b"".join(struct.pack("<I", control) for control in reversed(CONTROLS))
    data = b"".join(table + bytes(size) for table in tables)
    image = (code.ljust(DATA - BASE - 120 - len(controls), b"\0") + controls) + data
    told = run(image)
    return [results(told[2 * size * n + size :], size // 16) for n in range(len(CONTROLS))]


def run(image: bytes) -> bytes:
    """What a program writes that has nothing but one segment (ELF-64 Object File Format)."""
    head = b"\x7fELF" + bytes([2, 1, 1]).ljust(12, b"\0")
    head += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, BASE + 120, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    size = 120 + len(image)
    head += struct.pack("<IIQQQQQQ", 1, 7, 0, BASE, BASE, size, size, 4096)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "program"
        file.write_bytes(head + image)
        file.chmod(0o755)
        native = platform.machine() in ("x86_64", "AMD64")
        command = [str(file)] if native else [str(program_path("qemu-x86_64-static")), str(file)]
        return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout


def pairs_of(operation: str, control: int, most: int) -> list[tuple[int, ...]]:
    return tuples(OPERATIONS[operation][1], 2, most, seed=control)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_agrees_with_the_processor(machine: Sketched, operation: str) -> None:
    most = COUNTS.get(machine.engine, MANY)
    code = program(operation) + b"\x89\x04\x25" + END.to_bytes(4, "little")  # mov [END], eax
    for control, theirs in zip(CONTROLS, by_processor(operation, most), strict=True):
        pairs = pairs_of(operation, control, most)
        table = b"".join(struct.pack("<QQ", *pair) for pair in pairs)
        machine.begin(code, CODE, rsi=TABLE, rdi=RESULTS, rdx=CONTROL, rcx=TABLE + len(table))
        machine.put(TABLE, table)
        machine.put(CONTROL, struct.pack("<I", control))
        machine.finish()
        ours = results(machine.get(RESULTS, len(table)), len(pairs))
        for pair, our, their in zip(pairs, ours, theirs, strict=True):
            told = (f"{control:#x}", *(f"{n:#x}" for n in pair))
            assert tuple(map(hex, our)) == tuple(map(hex, their)), told
