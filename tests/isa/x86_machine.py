"""x86 code on each engine: short programs in flat memory from 0 up, which end by a store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BytesIO

import llvmlite.binding as llvm
import pytest
from elftools.elf.elffile import ELFFile
from msgspec.structs import replace

from bimetal.accel.interp import InterpAccelerator, InterpCpu
from bimetal.accel.jit import JitAccelerator
from bimetal.accel.reference import Reference, ReferenceCpu
from bimetal.base.clock import RealClock
from bimetal.codegen.policy import stressed
from bimetal.memory.ram import Ram
from bimetal.seam import Accelerator, Exit, Kicked, MemorySlot, Mmio

__all__ = ["CODE", "DATA", "END", "ENGINES", "MODES", "SIZE", "X86Machine", "assemble", "machines"]

ENGINES = ("reference", "interp", "everything", "optimise", "everything,forget", "runs")
"""The reference, the interpreter, and the translator in modes of `bimetal.codegen.policy`."""
SIZE = 0x4_0000
CODE, DATA, STACK = 0x1000, 0x8000, 0x2_0000
END = 0x4000_0000
"""A program ends by a store to here, where there is no memory."""
MODES = (64, 32, 16)

LMA, PE = 1 << 10, 1
FLAT_DATA, FLAT_CODE, LONG_CODE, REAL = 0xC093, 0xC09B, 0xA09B, 0x93


@cache
def assemble(text: str, bits: int = 64, at: int = 0) -> bytes:
    """The code of lines in Intel's syntax, by LLVM's assembler."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()
    body = f".intel_syntax noprefix\n.code{bits}\n.org {at}\n{text}\n"
    lines = "\n".join(f'module asm "{line}"' for line in body.split("\n"))
    triple = "x86_64-unknown-linux-gnu"
    module = llvm.parse_assembly(f'target triple = "{triple}"\n{lines}\n')
    machine = llvm.Target.from_triple(triple).create_target_machine(cpu="sapphirerapids")
    section = ELFFile(BytesIO(machine.emit_object(module))).get_section_by_name(".text")
    return bytes(section.data()[at:])


@dataclass(slots=True)
class X86Machine:
    """A vCPU on one of `ENGINES`, and its memory from 0 up."""

    engine: str
    cpu: InterpCpu | ReferenceCpu
    ram: Ram

    def __getitem__(self, register: str) -> int:
        return self.cpu.read_register(register)

    def __setitem__(self, register: str, value: int) -> None:
        self.cpu.write_register(register, value)

    def put(self, address: int, data: bytes) -> None:
        """Write guest memory behind the vCPU's back."""
        self.ram.bytes[address : address + len(data)] = data

    def get(self, address: int, size: int) -> bytes:
        """What guest memory holds."""
        return bytes(self.ram.bytes[address : address + size])

    def word(self, address: int, size: int = 8) -> int:
        """A number in guest memory."""
        return int.from_bytes(self.get(address, size), "little")

    def begin(self, code: bytes, bits: int = 64, at: int = CODE, **registers: int) -> None:
        """Reset, with code of a mode in memory: 64-bit, 32-bit flat, or 16-bit in real mode."""
        self.ram.bytes[:SIZE] = bytes(SIZE)
        self.cpu.reset()
        self.put(at, code + b"\xf4" * 16)
        data, code_rights = {64: (FLAT_DATA, LONG_CODE), 32: (FLAT_DATA, FLAT_CODE)}.get(
            bits, (REAL, 0x9B)
        )
        for name in ("cs", "ds", "es", "fs", "gs", "ss"):
            self[name] = 0
            self[f"{name}.base"] = 0
            self[f"{name}.limit"] = 0xFFFF if bits == 16 else 0xFFFF_FFFF
            self[f"{name}.attributes"] = code_rights if name == "cs" else data
        self["efer"] = LMA if bits == 64 else 0
        self["cr0"] = 0x10 | (PE if bits > 16 else 0)
        self["rsp"] = STACK if bits > 16 else 0xFF00
        for name, value in registers.items():
            self[name] = value
        self["pc"] = at

    def run(self) -> Exit:
        """Run up to an exit that is not a kick."""
        exit_ = self.cpu.run()
        while isinstance(exit_, Kicked):
            exit_ = self.cpu.run()
        return exit_

    def finish(self) -> int:
        """Run to the end of the program; what it stores there."""
        exit_ = self.run()
        assert isinstance(exit_, Mmio), exit_
        assert (exit_.address, exit_.write) == (END, True), exit_
        return exit_.value

    def do(self, text: str, bits: int = 64, **registers: int) -> int:
        """Run lines of code to the store of EAX that ends them; what it stores."""
        if bits == 16:
            raise ValueError("real mode has no address to end a program by")
        code = assemble(f"{text}\nmov dword ptr [{END}], eax", bits, CODE)
        self.begin(code, bits, **registers)
        return self.finish()


@contextmanager
def _machine(engine: str) -> Iterator[X86Machine]:
    ram, clock = Ram("ram", SIZE), RealClock()
    accelerator: Accelerator
    if engine == "reference":
        accelerator = Reference("x86_64", clock=clock, cpus=1)
    elif engine == "interp":
        accelerator = InterpAccelerator("x86_64", clock=clock, cpus=1)
    else:
        # Polls so often that each place that a short program comes to is seen.
        policy = replace(stressed(engine), slice=7)
        accelerator = JitAccelerator("x86_64", clock=clock, cpus=1, policy=policy)
    try:
        accelerator.set_memory([MemorySlot(0, SIZE, ram.host)])
        cpu = accelerator.add_cpu(0)
        assert isinstance(cpu, InterpCpu | ReferenceCpu)
        yield X86Machine(engine, cpu, ram)
    finally:
        accelerator.close()
        ram.close()


def machines(*engines: str) -> Callable[[], Iterator[X86Machine]]:
    """A fixture: a vCPU on each of the engines, for all tests of a module, which reset it. Those
    that are compiled are slow: for the first time that takes minutes."""
    named = engines or ENGINES
    compiled = [pytest.param(each, marks=pytest.mark.slow) for each in named if each != "reference"]

    @pytest.fixture(scope="module", params=["reference", *compiled])
    def machine(request: pytest.FixtureRequest) -> Iterator[X86Machine]:
        with _machine(request.param) as made:
            yield made

    return machine
