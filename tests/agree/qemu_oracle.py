"""QEMU's user emulation as an oracle: all cases in one program, which prints their outcomes.

The program is made here, byte by byte: for each word a loop over blocks of 256 bytes, each with
the registers and memory of one case, which the loop loads, lets the instruction work on, and
stores. At the end it writes all blocks to its standard output.
"""

from __future__ import annotations

import itertools
import struct
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from bimetal.isa.riscv import rv64
from bimetal.isa.riscv.state import F_NAMES as ABI_F
from bimetal.isa.riscv.state import X_NAMES as ABI_X
from tests.host import program_path

from .state import CODE, DATA, Case, State

__all__ = ["EMULATOR", "execute"]

EMULATOR = "qemu-riscv64-static"

TEXT_BASE = 0x1_0000
DATA_BASE = 0x2B5D_3000  # a number that no instruction makes by chance
BLOCK, WINDOW = 256, 192
X_NAMES = ("x2", *(f"x{n}" for n in range(8, 16)))
F_NAMES = tuple(f"f{n}" for n in range(8, 16))
FCSR = 8 * (len(X_NAMES) + len(F_NAMES))


def _assemble(*lines: str) -> bytes:
    return b"".join(rv64.assemble(line) for line in lines)


def _constant(register: str, value: int) -> bytes:
    """Set a register to a constant below 2 GiB."""
    low = (value & 0xFFF ^ 0x800) - 0x800
    return _assemble(
        f"lui {register}, {value - low >> 12:#x}", f"addi {register}, {register}, {low}"
    )


def _loop(word: bytes, first: int, count: int) -> bytes:
    """Execute one instruction on ``count`` blocks from address ``first``."""
    x = [(ABI_X[int(n[1:])], 8 * i) for i, n in enumerate(X_NAMES)]
    f = [(ABI_F[int(n[1:])], 8 * (i + len(x))) for i, n in enumerate(F_NAMES)]
    body = _assemble(f"ld t4, {FCSR}(t6)", "csrrw zero, 0x3, t4")
    body += _assemble(*(f"ld {name}, {at}(t6)" for name, at in x))
    body += _assemble(*(f"fld {name}, {at}(t6)" for name, at in f))
    body += word
    body += _assemble("csrrs t4, 0x3, zero", f"sd t4, {FCSR}(t6)")
    body += _assemble(*(f"sd {name}, {at}(t6)" for name, at in x))
    body += _assemble(*(f"fsd {name}, {at}(t6)" for name, at in f))
    body += _assemble(f"addi t6, t6, {BLOCK}")
    body += rv64.assemble(f"bne t6, t5, {-len(body) & (1 << 64) - 1:#x}")
    return _constant("t6", first) + _constant("t5", first + count * BLOCK) + body


def _relocated(value: int, distance: int) -> int:
    """Pointers into the page around the window move with it."""
    return value + distance if abs(value - DATA) <= 4096 else value


def _block(state: State, address: int) -> bytes:
    distance = address + WINDOW - DATA
    values = [_relocated(state.registers[n], distance) for n in X_NAMES]
    values += [state.registers[n] for n in F_NAMES]
    values.append(state.registers["frm"] << 5 | state.registers["fflags"])
    head = struct.pack(f"<{len(values)}Q", *values)
    return head.ljust(WINDOW, b"\0") + state.memory


def _after(block: bytes, address: int, length: int) -> State:
    distance = DATA - (address + WINDOW)
    values = struct.unpack_from(f"<{len(X_NAMES) + len(F_NAMES) + 1}Q", block)
    registers = dict(zip((*X_NAMES, *F_NAMES), values, strict=False))
    for name in X_NAMES:
        value = registers[name]
        near = abs(value - (address + WINDOW)) <= 4096
        registers[name] = value + distance if near else value
    registers |= {"fflags": values[-1] & 31, "frm": values[-1] >> 5, "pc": CODE + length}
    return State(registers, block[WINDOW:])


def _elf(text: bytearray, data: bytearray) -> bytes:
    """A static executable: code and data, each a loadable segment."""
    head = 64 + 2 * 56
    at = -(-(head + len(text)) // 4096) * 4096
    executable, riscv, entry = 2, 243, TEXT_BASE + head
    header = struct.pack("<16sHHIQQQ", b"\x7fELF\x02\x01\x01", executable, riscv, 1, entry, 64, 0)
    header += struct.pack("<IHHHHHH", 5, 64, 56, 2, 0, 0, 0)
    segments = struct.pack(
        "<IIQQQQQQ", 1, 5, 0, TEXT_BASE, TEXT_BASE, head + len(text), head + len(text), 4096
    ) + struct.pack("<IIQQQQQQ", 1, 6, at, DATA_BASE, DATA_BASE, len(data), len(data), 4096)
    return (header + segments + bytes(text)).ljust(at, b"\0") + data


@cache
def _model(command: str) -> str:
    """A processor with every extension that this QEMU knows; before version 8 each by name."""
    known = subprocess.run([command, "-cpu", "help"], capture_output=True, text=True, check=False)
    return "max" if "max" in known.stdout.split() else "rv64,Zfh=true,zbkb=true,zbkx=true"


def execute(cases: Sequence[Case], directory: Path) -> list[State]:
    """The state after each case; ``directory`` is for the program."""
    text, data = bytearray(), bytearray()
    for word, group in itertools.groupby(cases, key=lambda case: case.word):
        first, count = DATA_BASE + len(data), 0
        for case in group:
            data += _block(case.before, DATA_BASE + len(data))
            count += 1
        text += _loop(_bytes(word), first, count)
    text += _constant("a1", DATA_BASE) + _constant("a2", len(data))
    text += _assemble("addi a0, zero, 1", "addi a7, zero, 64", "ecall")
    text += _assemble("addi a0, zero, 0", "addi a7, zero, 93", "ecall")
    program = directory / "cases"
    program.write_bytes(_elf(text, data))
    program.chmod(0o755)
    path = program_path(EMULATOR)
    command = [path, "-cpu", _model(path), str(program)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=120)
    assert len(done.stdout) == len(data), "the program did not get to its end"
    return [
        _after(done.stdout[n : n + BLOCK], DATA_BASE + n, len(_bytes(case.word)))
        for n, case in zip(range(0, len(data), BLOCK), cases, strict=True)
    ]


def _bytes(word: int) -> bytes:
    return word.to_bytes(4 if word & 3 == 3 else 2, "little")
