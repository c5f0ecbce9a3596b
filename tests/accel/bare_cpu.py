"""A CPU before a few instructions, in memory and with registers as a test wants them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from bimetal.accel.interp import InterpAccelerator
from bimetal.accel.jit import JitAccelerator
from bimetal.accel.reference import Reference
from bimetal.isa.describe import Isa
from bimetal.memory.ram import Ram
from bimetal.seam import Accelerator, Cpu, MemorySlot

__all__ = ["ENGINES", "Engine", "Make", "cpu_before", "named"]

Engine = Callable[..., Accelerator]
Make = Callable[..., Cpu]
ENGINES: list[Any] = [InterpAccelerator, JitAccelerator, Reference]


def named(engine: Any) -> str:
    """For the ids of tests."""
    return str(engine.name)


@contextmanager
def cpu_before(
    engine: Engine, isa: Isa, at: int, size: int = 4096, **options: Any
) -> Iterator[Make]:
    """A function that puts instructions at ``at``, the start of so much RAM, and returns the CPU
    before them, as it is after a reset. What else is to be in ``memory``, by address, and what in
    registers it takes by name. ``options`` are the accelerator's."""
    accelerator = engine(isa.name, **options)
    ram = Ram("ram", size)
    accelerator.set_memory([MemorySlot(at, size, ram.host)])
    cpu = accelerator.add_cpu(0)

    def make(*lines: str, memory: Mapping[int, bytes] | None = None, **registers: int) -> Cpu:
        code = b"".join(isa.assemble(line, at + 4 * n) for n, line in enumerate(lines))
        for place, data in ({at: code} | dict(memory or {})).items():
            ram.bytes[place - at : place - at + len(data)] = data
        cpu.reset()
        for name, value in ({"pc": at} | registers).items():
            cpu.write_register(name, value)
        return cpu

    try:
        yield make
    finally:
        accelerator.close()
        ram.close()
