"""Compiling C programs, and running them: in QEMU's user emulation, and on accelerators.

The same ELF file runs in both. It makes two system calls of Linux, write and exit; on an
accelerator these are firmware calls, made from S-mode without translation of addresses.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile

from bimetal.accel.interp import InterpCpu
from bimetal.accel.reference import ReferenceCpu
from bimetal.memory.ram import Ram
from bimetal.seam import Accelerator, Cpu, FirmwareCall, Kicked, MemorySlot
from tests.host import program_path

from . import qemu_oracle

__all__ = ["BASE", "COMPILER", "EXIT", "SUPERVISOR", "Run", "compiled", "load", "on", "on_qemu"]

COMPILER = "riscv64-linux-gnu-gcc"
OPTIONS = (
    "-march=rv64gc -mabi=lp64d -mcmodel=medany -ffreestanding -fno-pic -no-pie -nostdlib -static"
    " -Wl,--no-relax -Wl,--build-id=none -Wl,--no-warn-rwx-segments -Wl,-Ttext-segment=0x100000"
).split()
BASE, SIZE = 0x10_0000, 1 << 20
SUPERVISOR, FLOATING_POINT_ON = 1, 3 << 13
WRITE, EXIT = 64, 93


@dataclass(frozen=True, slots=True)
class Run:
    """What a program printed, and how many instructions that took (0 if nobody counted)."""

    printed: str
    instructions: int = 0


def compiled(source: str, level: str, folder: Path) -> Path:
    """Compile a program with ``-O`` level; subprocess.CalledProcessError if it is not C."""
    text, program = folder / "program.c", folder / f"program-{level}"
    text.write_text(source)
    command = [COMPILER, f"-O{level}", *OPTIONS, str(text), "-o", str(program)]
    subprocess.run(command, check=True, capture_output=True)
    return program


def on_qemu(program: Path) -> Run:
    """Run a program in QEMU's user emulation."""
    command = [program_path(qemu_oracle.EMULATOR), str(program)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return Run(done.stdout)


def load(program: Path, ram: Ram) -> int:
    """Put a program into memory that begins at `BASE`; where it is entered."""
    with program.open("rb") as file:
        elf = ELFFile(file)
        for segment in elf.iter_segments("PT_LOAD"):
            at = segment["p_vaddr"] - BASE
            ram.bytes[at : at + segment["p_filesz"]] = segment.data()
        return int(elf.header["e_entry"])


def on(accelerator: Accelerator, cpu: Cpu, program: Path) -> Run:
    """Run a program on the CPU of an accelerator that makes firmware calls exits."""
    ram = Ram("ram", SIZE)
    entry = load(program, ram)
    accelerator.set_memory([MemorySlot(BASE, SIZE, ram.host)])
    cpu.reset()
    state = {"priv": SUPERVISOR, "mstatus": FLOATING_POINT_ON, "pc": entry}
    for name, value in state.items():
        cpu.write_register(name, value)
    before, printed = retired(cpu), ""
    while True:
        exit_ = cpu.run()
        if isinstance(exit_, Kicked):
            continue
        assert isinstance(exit_, FirmwareCall), exit_
        _, address, size, *_, number = exit_.args
        if number == EXIT:
            break
        assert number == WRITE
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
