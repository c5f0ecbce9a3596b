"""Compiling C programs, and running them: in QEMU's user emulation, and on accelerators.

The same ELF file runs in both. It makes two system calls of Linux, write and exit; on an
accelerator these are firmware calls, made without translation of addresses.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile

from bimetal.accel.interp import InterpCpu
from bimetal.accel.reference import ReferenceCpu
from bimetal.memory.ram import PAGE_SIZE, Ram
from bimetal.seam import Accelerator, Cpu, FirmwareCall, Kicked, MemorySlot
from tests.host import program_path

from .targets import BASE, SIZE, VECTORS, Target

__all__ = ["EXIT", "WRITE", "Run", "compiled", "enter", "load", "memory", "on", "on_qemu"]

OPTIONS = (
    "-ffreestanding -fno-pic -no-pie -nostdlib -static -Wl,--build-id=none"
    " -Wl,--no-warn-rwx-segments -Wl,-Ttext-segment=0x100000"
).split()
HEADERS = Path(__file__).parent
WRITE, EXIT = 64, 93


@dataclass(frozen=True, slots=True)
class Run:
    """What a program printed, and how many instructions that took (0 if nobody counted)."""

    printed: str
    instructions: int = 0


def compiled(target: Target, source: str, level: str, folder: Path, turn: int = 0) -> Path:
    """Compile a program with ``-O`` level, for the processor whose turn it is;
    subprocess.CalledProcessError if it is not C."""
    text, program = folder / "program.c", folder / f"program-{level}"
    text.write_text(source)
    march = f"-march={target.marches[turn % len(target.marches)]}"
    options = [march, *target.options, *OPTIONS, f"-I{HEADERS}"]
    command = [target.compiler, f"-O{level}", *options, str(text), "-lgcc", "-o", str(program)]
    subprocess.run(command, check=True, capture_output=True)
    return program


def on_qemu(target: Target, program: Path) -> Run:
    """Run a program in QEMU's user emulation."""
    command = [program_path(target.emulator), str(program)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return Run(done.stdout)


def memory(accelerator: Accelerator, target: Target) -> Ram:
    """Give an accelerator the memory that programs run in; the caller closes it."""
    ram = Ram("ram", SIZE + PAGE_SIZE)
    ram.bytes[VECTORS - BASE :][: len(target.vectors)] = target.vectors
    accelerator.set_memory([MemorySlot(BASE, ram.size, ram.host)])
    return ram


def load(program: Path, ram: Ram) -> int:
    """Put a program into memory that begins at `BASE`; where it is entered."""
    with program.open("rb") as file:
        elf = ELFFile(file)
        for segment in elf.iter_segments("PT_LOAD"):
            at = segment["p_vaddr"] - BASE
            ram.bytes[at : at + segment["p_filesz"]] = segment.data()
        return int(elf.header["e_entry"])


def enter(cpu: Cpu, target: Target, **registers: int) -> None:
    """Have a CPU begin a program with these registers."""
    for name, value in {**target.registers, **registers}.items():
        cpu.write_register(name, value)


def on(accelerator: Accelerator, cpu: Cpu, target: Target, program: Path) -> Run:
    """Run a program on the CPU of an accelerator that makes firmware calls exits."""
    ram = memory(accelerator, target)
    cpu.reset()
    enter(cpu, target, pc=load(program, ram))
    before, printed = retired(cpu), ""
    while True:
        exit_ = cpu.run()
        if isinstance(exit_, Kicked):
            continue
        assert isinstance(exit_, FirmwareCall), exit_
        number = cpu.read_register(target.number)
        if number == EXIT:
            break
        assert number == WRITE
        _, address, size = (cpu.read_register(name) for name in target.arguments)
        printed += bytes(ram.bytes[address - BASE : address - BASE + size]).decode()
        exit_.results = (size,)
    count = retired(cpu) - before
    ram.close()
    return Run(printed, count)


def retired(cpu: Cpu) -> int:
    """Instructions that a CPU of ours has retired."""
    if isinstance(cpu, ReferenceCpu):
        return cpu.core.retired
    assert isinstance(cpu, InterpCpu)
    return cpu.instructions
