"""x86 code on each engine: short programs in flat memory from 0 up, which end by a store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO

import llvmlite.binding as llvm
import pytest
from elftools.elf.elffile import ELFFile

from tests.sketches.sketched import END, SIZE, Sketched, sketched

__all__ = [
    "CODE", "DATA", "END", "ENGINES", "HALTS", "MODES", "X86Machine", "assemble", "assembled",
    "machines", "mode",
]  # fmt: skip

ENGINES = ("reference", "interp", "everything", "optimise", "everything,forget", "runs")
"""The reference, the interpreter, and the translator in modes of `bimetal.codegen.policy`."""
CODE, DATA, STACK = 0x1000, 0x8000, 0x2_0000
MODES = (64, 32, 16)
HALTS = b"\xf4" * 16
"""What stands behind a program."""

LMA, PE = 1 << 10, 1
FLAT_DATA, FLAT_CODE, LONG_CODE, REAL = 0xC093, 0xC09B, 0xA09B, 0x93


def assembled(text: str, bits: int = 64) -> ELFFile:
    """The object of lines in Intel's syntax, by LLVM's assembler."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()
    body = f".intel_syntax noprefix\n.code{bits}\n{text}\n"
    lines = "\n".join(f'module asm "{line}"' for line in body.split("\n"))
    triple = "x86_64-unknown-linux-gnu"
    module = llvm.parse_assembly(f'target triple = "{triple}"\n{lines}\n')
    machine = llvm.Target.from_triple(triple).create_target_machine(cpu="sapphirerapids")
    return ELFFile(BytesIO(machine.emit_object(module)))


@cache
def assemble(text: str, bits: int = 64, at: int = 0) -> bytes:
    """The code of such lines."""
    section = assembled(f".org {at}\n{text}", bits).get_section_by_name(".text")
    return bytes(section.data()[at:])


def mode(bits: int) -> dict[str, int]:
    """The registers of a mode: 64-bit, 32-bit with flat segments, or real mode. No paging."""
    data, code = {64: (FLAT_DATA, LONG_CODE), 32: (FLAT_DATA, FLAT_CODE)}.get(bits, (REAL, 0x9B))
    registers = dict[str, int]()
    for name in ("cs", "ds", "es", "fs", "gs", "ss"):
        registers |= {
            name: 0,
            f"{name}.base": 0,
            f"{name}.limit": 0xFFFF if bits == 16 else 0xFFFF_FFFF,
            f"{name}.attributes": code if name == "cs" else data,
        }
    return {**registers, "efer": LMA if bits == 64 else 0, "cr0": 0x10 | (PE if bits > 16 else 0)}


class X86Machine(Sketched):
    """A vCPU on one of `ENGINES`, and its memory from 0 up."""

    def place(self, code: bytes, bits: int = 64, at: int = CODE, **registers: int) -> None:
        """Reset, with code of a mode in memory: 64-bit, 32-bit flat, or 16-bit in real mode."""
        self.ram.bytes[:SIZE] = bytes(SIZE)
        self.cpu.reset()
        self.put(at, code + HALTS)
        stack = STACK if bits > 16 else 0xFF00
        for name, value in {**mode(bits), "rsp": stack, **registers, "pc": at}.items():
            self[name] = value

    def do(self, text: str, bits: int = 64, **registers: int) -> int:
        """Run lines of code to the store of EAX that ends them; what it stores."""
        if bits == 16:
            raise ValueError("real mode has no address to end a program by")
        code = assemble(f"{text}\nmov dword ptr [{END}], eax", bits, CODE)
        self.place(code, bits, **registers)
        return self.finish()


def machines(*engines: str) -> Callable[[], Iterator[X86Machine]]:
    """A fixture: a vCPU on each of the engines, for all tests of a module, which reset it. Those
    that are compiled are slow: for the first time that takes minutes."""
    named = engines or ENGINES
    compiled = [pytest.param(each, marks=pytest.mark.slow) for each in named if each != "reference"]

    @pytest.fixture(scope="module", params=["reference", *compiled])
    def machine(request: pytest.FixtureRequest) -> Iterator[X86Machine]:
        with sketched("x86_64", request.param) as made:
            yield X86Machine(made.engine, made.cpu, made.ram)

    return machine
