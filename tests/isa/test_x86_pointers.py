"""The x87's pointers to its last instruction, and to that one's operand in memory (Intel's manual,
volume 1, 8.1.8): those that QEMU's user emulation has, and the formats of the manual."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.host import programs

from .x86_machine import CODE, DATA, X86Machine, assemble, machines

machine = machines("reference", "interp", "everything")

QEMU, COMPILER = "qemu-x86_64-static", "cc"
PROGRAMS = {
    "load": "fld dword ptr [rbx+8]",
    "then one without an operand": "fld dword ptr [rbx+8]; fadd st, st(0)",
    "integers": "fild word ptr [rbx+2]; fistp dword ptr [rbx+12]",
    "arithmetic": "fld1; fmul qword ptr [rbx+16]",
    "comparison": "fld1; fcomp dword ptr [rbx+20]; nop; nop",
    "extended": "fld tbyte ptr [rbx+1]; fstp tbyte ptr [rbx+33]",
    "decimal": "fld1; fbstp tbyte ptr [rbx+5]",
    "constant": "fld dword ptr [rbx]; nop; fldpi",
    "control says nothing": "fld dword ptr [rbx+24]; fldcw [rbx+40]; fnstcw [rbx+42]",
    "exchange": "fld dword ptr [rbx+24]; fld1; fnop; fxch",
}
START = """
.intel_syntax noprefix
.globl _start
_start: lea rbx, [rip + data]
    fninit
begin: {text}
    fnstenv [rip + environment]
    lea rax, [rip + begin]
    mov [rip + environment + 28], eax
    mov [rip + environment + 32], ebx
    mov eax, 1
    mov edi, eax
    lea rsi, [rip + environment]
    mov edx, 36
    syscall
    mov eax, 60
    xor edi, edi
    syscall
.data
data: .fill 40, 1, 0
    .word 0x37f
environment: .fill 64, 1, 0
"""


def words(image: bytes) -> list[int]:
    return [int.from_bytes(image[at : at + 4], "little") for at in range(0, len(image), 4)]


@cache
def by_qemu(text: str, folder: Path) -> tuple[int, int]:
    """Where the last instruction is, behind the beginning, and its operand, behind RBX."""
    source, program = folder / "program.s", folder / "program"
    source.write_text(START.format(text=text))
    command = (COMPILER, "-nostdlib", "-static", "-no-pie", "-o", str(program), str(source))
    subprocess.run(command, check=True)
    done = subprocess.run((QEMU, str(program)), capture_output=True, check=True)
    found = words(done.stdout)
    return found[3] - found[7], found[5] - found[8]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pointers")


@programs(QEMU, COMPILER)
@pytest.mark.parametrize("name", PROGRAMS)
def test_they_are_those_of_qemu(machine: X86Machine, name: str, folder: Path) -> None:
    text, control = PROGRAMS[name], f"mov word ptr [{DATA + 40}], 0x37f\n"
    begin = f"mov ebx, {DATA}\nfninit\n{control}"
    machine.do(f"{begin}{text}\nfnstenv [{DATA + 0x100}]\nfxsave64 [{DATA + 0x200}]")
    found = words(machine.get(DATA + 0x100, 28))
    start = CODE + len(assemble(begin, 64, CODE))
    assert (found[3] - start, found[5] - DATA) == by_qemu(text, folder)
    saved = [machine.word(DATA + 0x200 + at) for at in (8, 16)]
    assert saved == [found[3], found[5]]


@pytest.mark.parametrize("text", ["fldenv [{}]\nfnstenv [{}]", "frstor [{}]\nfnsave [{}]"])
@pytest.mark.parametrize("bits", [64, 32])
def test_they_come_back(machine: X86Machine, text: str, bits: int) -> None:
    image = [0xFFFF_037F, 0xFFFF_0000, 0xFFFF_FFFF, 0x1234_5678, 0x5A5 << 16, 0x9ABC_DEF0]
    code = text.format(DATA, DATA + 0x100)
    machine.place(assemble(f"{code}\nhlt", bits, CODE), bits)
    machine.put(DATA, b"".join(word.to_bytes(4, "little") for word in image))
    machine.run()
    assert words(machine.get(DATA + 0x100, 24)) == image


def test_offsets_are_those_in_segments(machine: X86Machine) -> None:
    """Not linear addresses: here CS begins at 0x800, and DS at 0x4000."""
    code = assemble(f"fld dword ptr [{DATA - 0x4000 + 8}]\nfnstenv [{DATA - 0x4000}]\nhlt", 32)
    segments = {"cs.base": 0x800, "ds.base": 0x4000}
    machine.place(code, 32, **segments)
    machine.run()
    found = words(machine.get(DATA, 28))
    assert (found[3], found[5]) == (CODE - 0x800, DATA - 0x4000 + 8)


REAL = ((16, 14, 2), (32, 28, 4))


@pytest.mark.parametrize(("width", "size", "step"), REAL)
def test_formats_of_real_mode(machine: X86Machine, width: int, size: int, step: int) -> None:
    """Figures 8-10 and 8-12: bits from 16 on are behind the lower ones, and the opcode with them.
    What such an image says comes back."""
    wide = ".byte 0x66\n" if width == 32 else ""
    code = assemble(f"{wide}fldenv [{DATA - 0x4000}]\n{wide}fnstenv [{DATA - 0x3F00}]\nhlt", 16)
    machine.place(code, 16, **{"ds.base": 0x4000})
    image = [0x37F, 0, 0xFFFF, 0x5678, 0x4000 | 0x5A5, 0xDEF0, 0xC000]
    if width == 32:
        image = [word | 0xFFFF_0000 for word in image]
        image[4], image[6] = 0x1234 << 12 | 0x5A5, 0x9ABC << 12
    machine.put(DATA, b"".join(word.to_bytes(step, "little") for word in image))
    machine.run()
    assert machine.get(DATA + 0x100, size) == machine.get(DATA, size)
    assert machine["fip"] == (0x1234_5678 if width == 32 else 0x4_5678)
    assert machine["fdp"] == (0x9ABC_DEF0 if width == 32 else 0xC_DEF0)
