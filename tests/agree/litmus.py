"""Litmus tests of an instruction set's memory model, as programs of two to four CPUs.

A test is a few lines for each CPU on the words x and y, both zero before; what a CPU reads it
leaves in two registers. Each round has words of its own, so that rounds need no clearing up between
them, and CPUs meet at a barrier now and then. Which registers these are, and what stands around the
lines, a `Dialect` says.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from bimetal.accel.interp import InterpAccelerator, InterpCpu
from bimetal.memory.ram import Ram
from bimetal.seam import Kicked, MemorySlot, Mmio

from .side_by_side import Progress, side_by_side

__all__ = ["READ_SIZE", "STRIDE", "Dialect", "Litmus", "Outcome", "outcomes"]

CODE, PAGE = 0x8000_0000, 0x1000
BARRIER, WORDS = CODE + 0x8000, CODE + 0x10000
END = 0x10_0000
"""A store here ends a program; a load lets another CPU have the processor."""
PATIENCE = 2000
"""Looks at the barrier before that."""
STRIDE = 256
"""Bytes of a round: x, y, and what up to four CPUs have read, each on a cache line of its own."""
Y, READ, READ_SIZE = 64, 128, 16

Outcome = tuple[int, ...]
"""What CPU 0 read, twice; then CPU 1, and so on; at last x and y as they are in the end."""


@dataclass(frozen=True, slots=True)
class Litmus:
    """Lines for each CPU, and which outcomes the memory model forbids. With ``close`` the CPUs meet
    before each round, so that they race closely."""

    name: str
    lines: tuple[Sequence[str], ...]
    forbidden: Callable[[Outcome], bool]
    close: bool = False


@dataclass(frozen=True)
class Dialect:
    """How an instruction set says it. All instructions have four bytes, or a subclass has another
    `program`.

    The ``frame`` is text in lines: ``name:`` is a label, ``{name}`` its address, ``{test}`` the
    lines of a test, which may have labels too and use that behind them, ``end``; ``{cpus}`` and
    ``{stride}`` are numbers. ``registers`` has names for what a frame finds in registers: x, y,
    read (where results go), barrier, leave (`END`), patience, meetings, together (rounds from one
    meeting to the next), seed, one and two; all else is zero.
    """

    isa: str
    assemble: Callable[[str, int], bytes]
    frame: str
    registers: Mapping[str, str]

    def program(self, test: Litmus, cpu: int, base: int) -> bytes:
        """What one CPU executes, from ``base`` on."""
        labels = {"cpus": str(len(test.lines)), "stride": str(STRIDE)}
        lines: list[str] = []
        around = self.frame.split("{test}")
        for line in [*around[0].splitlines(), *test.lines[cpu], *around[1].splitlines()]:
            if line.endswith(":"):
                labels[line[:-1].strip()] = f"{base + 4 * len(lines):#x}"
            elif line.strip():
                lines.append(line.strip())
        code = bytearray()
        for line in lines:
            code += self.assemble(line.format(**labels), base + len(code))
            assert len(code) % 4 == 0, f"{test.name}: {line} has not four bytes"
        return bytes(code)

    def state(self, cpu: int, rounds: int, together: int) -> dict[str, int]:
        """The registers that a CPU begins with."""
        values = {
            "x": WORDS, "y": WORDS + Y, "read": WORDS + READ + cpu * READ_SIZE,
            "barrier": BARRIER, "leave": END, "patience": PATIENCE,
            "meetings": rounds // together, "together": together, "seed": cpu + 1,
            "one": 1, "two": 2,
        }  # fmt: skip
        return {self.registers[role]: value for role, value in values.items()}


def outcomes(
    accelerator: InterpAccelerator,
    dialect: Dialect,
    test: Litmus,
    rounds: int = 1000,
    together: int = 1,
) -> Counter[Outcome]:
    """Run a test on CPUs of an accelerator, with a meeting before every ``together`` rounds, and
    count its outcomes."""
    count = len(test.lines)
    size = WORDS - CODE + rounds * STRIDE
    ram = Ram("ram", -(-size // PAGE) * PAGE)
    accelerator.set_memory([MemorySlot(CODE, ram.size, ram.host)])
    while len(accelerator.cpus) < count:
        accelerator.add_cpu(len(accelerator.cpus))
    cpus = accelerator.cpus[:count]
    for number, cpu in enumerate(cpus):
        entry = CODE + number * PAGE
        code = dialect.program(test, number, entry)
        ram.bytes[entry - CODE : entry - CODE + len(code)] = code
        cpu.reset()
        cpu.flush()
        for name, value in {"pc": entry, **dialect.state(number, rounds, together)}.items():
            cpu.write_register(name, value)
    failures: list[object] = []
    try:
        side_by_side(cpus, partial(_run, failures), Progress())
        assert not failures, f"{test.name}: {failures}"
        return _counted(ram.bytes[WORDS - CODE :], count, rounds)
    finally:
        ram.close()


def _run(failures: list[object], cpu: InterpCpu, progress: Progress) -> None:
    while True:
        match cpu.run():
            case Mmio(address=address, write=False) if address == END:
                os.sched_yield()
            case Kicked() if not progress.ended:
                pass
            case exit_:
                break
    if not (isinstance(exit_, Mmio) and exit_.address == END):
        failures.append(exit_)


def _counted(memory: memoryview, cpus: int, rounds: int) -> Counter[Outcome]:
    words = memory[: rounds * STRIDE].cast("I")
    counted: Counter[Outcome] = Counter()
    for start in range(0, len(words), STRIDE // 4):
        read = [start + (READ + cpu * READ_SIZE) // 4 for cpu in range(cpus)]
        seen = [words[at + n] for at in read for n in (0, 1)]
        counted[*seen, words[start], words[start + Y // 4]] += 1
    words.release()
    return counted
