"""QEMU's user emulation as an oracle: all cases in one program, which prints their outcomes.

GNU's assembler makes the program. For each word there is a loop over blocks, each with the
registers and memory of one case: it loads them, lets the instruction work on them, and stores them.
Memory is copied to where the registers of a case say that it stands.
"""

from __future__ import annotations

import itertools
import struct
import subprocess
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from elftools.elf.elffile import ELFFile

from tests.host import program_path

from ..state import CODE, DATA, Case, State
from .cases import MEMORY, V, X

__all__ = ["ASSEMBLER", "EMULATOR", "assemble", "execute"]

EMULATOR, ASSEMBLER = "qemu-aarch64-static", "aarch64-linux-gnu-as"

TEXT_BASE, BLOCKS = 0x1_0000, 0x4000_0000
STATUS = ("nzcv", "fpcr", "fpsr")
SP, STATUS_AT = 8 * len(X), 8 * len(X) + 8
V_AT = 96
WINDOW = V_AT + 16 * len(V)
BLOCK = WINDOW + MEMORY
assert STATUS_AT + 24 <= V_AT


def assemble(source: str, directory: Path) -> bytes:
    """The machine code of assembly text, by GNU's assembler."""
    text, output = directory / "program.s", directory / "program.o"
    text.write_text(source)
    subprocess.run([ASSEMBLER, "-march=armv8.6-a", "-o", output, text], check=True)
    return bytes(ELFFile(BytesIO(output.read_bytes())).get_section_by_name(".text").data())


def _loop(number: int, word: int, first: int, count: int) -> str:
    """Execute one instruction on ``count`` blocks from address ``first``."""
    pairs = list(zip(X[::2], X[1::2], strict=True))
    vectors = [(f"q{n}, q{n + 1}", V_AT + 16 * n) for n in range(0, len(V), 2)]
    lines = [f"ldr x28, ={first:#x}", f"ldr x29, ={first + count * BLOCK:#x}", f"again{number}:"]
    for at in range(0, MEMORY, 32):
        lines += [f"ldp q0, q1, [x28, #{WINDOW + at}]", f"stp q0, q1, [x26, #{at}]"]
    for n, name in enumerate(STATUS):
        lines += [f"ldr x27, [x28, #{STATUS_AT + 8 * n}]", f"msr {name}, x27"]
    lines += [f"ldr x27, [x28, #{SP}]", "mov sp, x27"]
    lines += [f"ldp {pair}, [x28, #{at}]" for pair, at in vectors]
    lines += [f"ldp {a}, {b}, [x28, #{16 * n}]" for n, (a, b) in enumerate(pairs)]
    lines.append(f".inst {word:#x}")
    lines += [f"stp {a}, {b}, [x28, #{16 * n}]" for n, (a, b) in enumerate(pairs)]
    lines += [f"stp {pair}, [x28, #{at}]" for pair, at in vectors]
    lines += ["mov x27, sp", f"str x27, [x28, #{SP}]"]
    for n, name in enumerate(STATUS):
        lines += [f"mrs x27, {name}", f"str x27, [x28, #{STATUS_AT + 8 * n}]"]
    for at in range(0, MEMORY, 32):
        lines += [f"ldp q0, q1, [x26, #{at}]", f"stp q0, q1, [x28, #{WINDOW + at}]"]
    lines += [f"add x28, x28, #{BLOCK}", "cmp x28, x29", f"b.ne again{number}"]
    if number % 64 == 63:  # constants must be near
        lines += [f"b over{number}", ".ltorg", f"over{number}:"]
    return "\n".join(lines)


def _block(state: State) -> bytes:
    registers = state.registers
    head = struct.pack(
        f"<{len(X) + 1 + len(STATUS)}Q", *(registers[name] for name in (*X, "sp", *STATUS))
    )
    vectors = b"".join(registers[name].to_bytes(16, "little") for name in V)
    return head.ljust(V_AT, b"\0") + vectors + state.memory


def _after(block: bytes) -> State:
    values = struct.unpack_from(f"<{len(X) + 1 + len(STATUS)}Q", block)
    registers = dict(zip((*X, "sp", *STATUS), values, strict=True))
    for n, name in enumerate(V):
        registers[name] = int.from_bytes(block[V_AT + 16 * n : V_AT + 16 * n + 16], "little")
    return State(registers | {"pc": CODE + 4}, block[WINDOW:])


def _elf(segments: Sequence[tuple[int, bytes]], entry: int) -> bytes:
    """A static executable with these segments, all readable, writable and executable."""
    at = -(-(64 + 56 * len(segments)) // 4096) * 4096
    executable, aarch64 = 2, 183
    image = struct.pack("<16sHHIQQQ", b"\x7fELF\x02\x01\x01", executable, aarch64, 1, entry, 64, 0)
    image += struct.pack("<IHHHHHH", 0, 64, 56, len(segments), 0, 0, 0)
    body = b""
    for address, content in segments:
        size = len(content)
        image += struct.pack("<IIQQQQQQ", 1, 7, at + len(body), address, address, size, size, 4096)
        body += content.ljust(-(-size // 4096) * 4096, b"\0")
    return image.ljust(at, b"\0") + body


def execute(cases: Sequence[Case], directory: Path) -> list[State]:
    """The state after each case; ``directory`` is for the program."""
    lines, data = [f"ldr x26, ={DATA:#x}"], bytearray()
    for number, (word, group) in enumerate(itertools.groupby(cases, key=lambda case: case.word)):
        first, before = BLOCKS + len(data), len(data)
        for case in group:
            data += _block(case.before)
        lines.append(_loop(number, word, first, (len(data) - before) // BLOCK))
    lines += [f"ldr x1, ={BLOCKS:#x}", f"ldr x19, ={len(data):#x}", "write:"]
    lines += ["mov x0, #1", "mov x2, x19", "mov x8, #64", "svc #0"]
    lines += ["add x1, x1, x0", "subs x19, x19, x0", "b.ne write"]
    lines += ["mov x0, #0", "mov x8, #93", "svc #0"]
    text = assemble("\n".join(lines) + "\n", directory)
    program = directory / "cases"
    segments = [(TEXT_BASE, text), (BLOCKS, bytes(data)), (DATA, bytes(MEMORY))]
    program.write_bytes(_elf(segments, TEXT_BASE))
    program.chmod(0o755)
    command = [program_path(EMULATOR), "-cpu", "max", str(program)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=120)
    assert len(done.stdout) == len(data), "the program did not get to its end"
    return [_after(done.stdout[n : n + BLOCK]) for n in range(0, len(data), BLOCK)]
