"""Run a bare-metal program that reports through ``tohost``, on an accelerator and no board.

The page of ``tohost`` is left out of memory, so the report comes out as an MMIO exit.
"""

from __future__ import annotations

import time
from pathlib import Path
from threading import Timer

from elftools.elf.elffile import ELFFile

from bimetal.accel.choose import ENGINES, create
from bimetal.base.clock import RealClock
from bimetal.memory.ram import PAGE_SIZE, Ram
from bimetal.memory.space import AddressSpace
from bimetal.seam import Cpu, CpuFault, Halt, Kicked, Mmio

__all__ = ["ACCELERATORS", "PASSED", "run_program"]

ACCELERATORS = tuple(ENGINES)
RAM_BASE, RAM_SIZE = 0x8000_0000, 4 << 20
PASSED = "passed"


def run_program(path: Path, accel: str, seconds: float) -> str:
    """Run the ELF file ``path``; "passed", or what went wrong."""
    with path.open("rb") as file:
        elf = ELFFile(file)
        symbols = {s.name: s["st_value"] for s in elf.get_section_by_name(".symtab").iter_symbols()}
        tohost, entry = symbols["tohost"], elf.header["e_entry"]
        space = memory_without_page(tohost & -PAGE_SIZE)
        for segment in elf.iter_segments("PT_LOAD"):
            load(space, segment["p_paddr"], segment.data())
    accelerator = create(accel, "riscv64", clock=RealClock(), firmware_calls=False, cpus=1)
    try:
        accelerator.set_memory(space.slots())
        cpu = accelerator.add_cpu(0)
        cpu.write_register("pc", entry)
        return verdict(cpu, tohost, seconds)
    finally:
        accelerator.close()


def memory_without_page(hole: int) -> AddressSpace:
    """Memory but for one page."""
    space = AddressSpace()
    end = RAM_BASE + RAM_SIZE
    for base, limit in ((RAM_BASE, hole), (hole + PAGE_SIZE, end)):
        if limit > base:
            space.add_memory(Ram(f"ram@{base:x}", limit - base), base)
    return space


def load(space: AddressSpace, address: int, data: bytes) -> None:
    """Put a segment into memory; what lies in the page left out is zero and not needed."""
    for offset in range(0, len(data), PAGE_SIZE):
        if space.find(address + offset) is not None:
            space.load(address + offset, data[offset : offset + PAGE_SIZE])


def verdict(cpu: Cpu, tohost: int, seconds: float) -> str:
    """Run until the program reports, does what it should not, or ``seconds`` have passed."""
    deadline = time.monotonic() + seconds
    timer = Timer(seconds, cpu.kick)
    timer.start()
    try:
        while time.monotonic() < deadline:
            match cpu.run():
                case Mmio(address=address, write=True, value=value) if address == tohost:
                    if value & 1:
                        return PASSED if value == 1 else f"test case {value >> 1} failed"
                case Mmio(address=address) if address & -PAGE_SIZE == tohost & -PAGE_SIZE:
                    pass
                case Mmio() as stray:
                    return f"stray access: {stray}"
                case CpuFault(message=message):
                    return message
                case Halt() | Kicked():
                    pass
    finally:
        timer.cancel()
    return f"no verdict after {seconds:g} s, pc {cpu.read_register('pc'):#x}"
