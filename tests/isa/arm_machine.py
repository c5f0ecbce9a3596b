"""Bare-metal programs for A64: assembled by GNU's assembler, run on a vCPU without a board."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from elftools.elf.elffile import ELFFile
from msgspec.structs import replace

from bimetal.accel.interp import InterpAccelerator
from bimetal.accel.jit import JitAccelerator
from bimetal.accel.reference import Reference
from bimetal.base.clock import VirtualClock
from bimetal.codegen.policy import stressed
from bimetal.memory.ram import Ram
from bimetal.seam import (
    Accelerator,
    Cpu,
    Exit,
    FirmwareCall,
    Halt,
    Kicked,
    MemorySlot,
    Mmio,
    Outputs,
)

__all__ = ["ASSEMBLER", "BASE", "ENGINES", "LINKER", "SIZE", "Run", "assemble", "run"]

ASSEMBLER = "aarch64-linux-gnu-as"
LINKER = "aarch64-linux-gnu-ld"
BASE, SIZE = 0x4000_0000, 0x40_0000
ROM_SIZE = 0x1_0000
ENGINES = ("reference", "interp", "everything", "optimise,forget", "runs")


def assemble(source: str, folder: Path) -> bytes:
    """The program's bytes, for the start of memory; its first instruction is where it begins."""
    text, made, linked = (folder / name for name in ("a.s", "a.o", "a.elf"))
    text.write_text(source)
    subprocess.run([ASSEMBLER, "-march=armv8.6-a", "-o", made, text], check=True)
    subprocess.run([LINKER, "-Ttext", hex(BASE), "-e", hex(BASE), "-o", linked, made], check=True)
    elf = ELFFile(BytesIO(linked.read_bytes()))
    return bytes(elf.get_section_by_name(".text").data())


def _accelerator(name: str, clock: VirtualClock, model: str, hypervisor: bool) -> Accelerator:
    if name == "reference":
        return Reference("aarch64", clock=clock, model=model, hypervisor=hypervisor)
    if name == "interp":
        return InterpAccelerator("aarch64", clock=clock, model=model, hypervisor=hypervisor)
    policy = replace(stressed(name), slice=7)
    return JitAccelerator("aarch64", clock=clock, model=model, hypervisor=hypervisor, policy=policy)


class Run:
    """A program on one vCPU, until it waits for an interrupt that no timer brings. It begins at
    EL1, or at EL2 if there is a ``hypervisor``'s level."""

    def __init__(
        self,
        engine: str,
        program: bytes,
        rom: bytes = b"",
        model: str = "max",
        size: int = SIZE,
        hypervisor: bool = False,
    ):
        self._clock = VirtualClock()
        self._accelerator = _accelerator(engine, self._clock, model, hypervisor)
        self.ram = Ram("ram", size)
        self.ram.bytes[: len(program)] = program
        slots = [MemorySlot(BASE, size, self.ram.host)]
        self._rom = Ram("rom", ROM_SIZE, readonly=True)
        if rom:
            self._rom.bytes[: len(rom)] = rom
            slots.append(MemorySlot(0, ROM_SIZE, self._rom.host, readonly=True))
        self._accelerator.set_memory(slots)
        self.cpu: Cpu = self._accelerator.add_cpu(0)
        self.outputs: list[int] = []

    def until_halt(self, **registers: int) -> None:
        """Start at the beginning, with these registers."""
        for name, value in (registers | {"pc": BASE}).items():
            self.cpu.write_register(name, value)
        self.cpu.flush()
        while not self._answered(self.cpu.run()):
            pass

    def _answered(self, exit_: Exit) -> bool:
        """Answer an exit; whether the run is over."""
        match exit_:
            case Kicked():
                return False
            case Outputs(levels=levels):
                self.outputs.append(levels)
                self.cpu.set_line(0, bool(levels))
                return False
            case Halt(deadline=None):
                return True
            case Halt(deadline=deadline):
                assert deadline is not None
                self._clock.advance(max(0, deadline - self._clock.now_ns()))
                return False
            case FirmwareCall():
                return False
            case Mmio():
                exit_.fault = True  # nothing is there
                return False
        raise AssertionError(f"the program left by {exit_!r}")

    def memory(self, address: int, size: int) -> memoryview:
        """A piece of its memory."""
        return self.ram.bytes[address - BASE : address - BASE + size]

    def x(self, number: int) -> int:
        """A general-purpose register."""
        return self.cpu.read_register(f"x{number}")

    def close(self) -> None:
        """Give everything back."""
        self._accelerator.close()
        self.ram.close()
        self._rom.close()


@contextmanager
def run(
    engine: str,
    source: str,
    folder: Path,
    rom: bytes = b"",
    *,
    hypervisor: bool = False,
    **registers: int,
) -> Iterator[Run]:
    """Run a program to its end, with read-only memory at address 0 if there is some to be."""
    machine = Run(engine, assemble(source, folder), rom, hypervisor=hypervisor)
    try:
        machine.until_halt(**registers)
        yield machine
    finally:
        machine.close()
