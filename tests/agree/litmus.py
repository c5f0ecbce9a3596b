"""Litmus tests of RVWMO (volume I, chapter 17 and appendix A) as programs of two to four harts.

A test is a few lines for each hart on the words ``x`` (at s0) and ``y`` (at s1), both zero before;
t1 and t2 hold 1 and 2, and what a hart reads it leaves in a0 and a1. Each round has words of its
own, so that rounds need no clearing up between them, and harts meet at a barrier now and then.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bimetal.accel.interp import InterpAccelerator, InterpCpu
from bimetal.isa.riscv import rv64
from bimetal.memory.ram import Ram
from bimetal.seam import Kicked, MemorySlot, Mmio

__all__ = ["Litmus", "Outcome", "outcomes"]

CODE, PAGE = 0x8000_0000, 0x1000
BARRIER, WORDS = CODE + 0x8000, CODE + 0x10000
END = 0x10_0000
"""A store here ends a program; a load lets another hart have the processor."""
PATIENCE = 2000
"""Looks at the barrier before that."""
STRIDE = 256
"""Bytes of a round: x, y, and what up to four harts have read, each on a cache line of its own."""
Y, READ, READ_STRIDE = 64, 128, 16

Outcome = tuple[int, ...]
"""What hart 0 read, twice; then hart 1, and so on; at last x and y as they are in the end."""


@dataclass(frozen=True, slots=True)
class Litmus:
    """Lines for each hart, and which outcomes the memory model forbids."""

    name: str
    harts: tuple[Sequence[str], ...]
    forbidden: Callable[[Outcome], bool]


class _Assembler:
    """Lines into code; ``{end}`` in a line is the address behind the test's own lines."""

    def __init__(self, base: int):
        self.base, self.code = base, bytearray()

    @property
    def pc(self) -> int:
        return self.base + len(self.code)

    def put(self, *lines: str) -> None:
        for line in lines:
            self.code += rv64.assemble(line, self.pc)

    def page(self, register: str, address: int) -> None:
        """Set a register to the address of a page below 4 GiB."""
        clean = (f"{shift} {register}, {register}, 32" for shift in ("slli", "srli"))
        self.put(f"lui {register}, {address >> 12:#x}", *clean)

    def count(self, register: str, value: int) -> None:
        """Set a register to a number below 2 GiB."""
        low = (value & 0xFFF ^ 0x800) - 0x800
        self.put(f"lui {register}, {value - low >> 12:#x}", f"addi {register}, {register}, {low}")


def _program(hart: int, test: Litmus, rounds: int, together: int) -> bytes:
    """What one hart does: ``rounds`` rounds, with a barrier before every ``together``."""
    a = _Assembler(CODE + hart * PAGE)
    a.page("s0", WORDS)
    a.page("s4", BARRIER)
    a.put(f"addi s1, s0, {Y}", f"addi s2, s0, {READ + hart * READ_STRIDE}")
    a.put("addi t1, zero, 1", "addi t2, zero, 2", f"addi s7, zero, {hart + 1}")
    a.count("s3", rounds // together)
    a.put("addi s5, zero, 0", f"lui a7, {END >> 12:#x}")
    outer = a.pc
    a.put(f"addi s5, s5, {len(test.harts)}", "amoadd.w zero, t1, (s4)")
    again = a.pc
    a.count("t4", PATIENCE)
    spin = a.pc
    a.put("amoor.w t3, zero, (s4)", f"bge t3, s5, {a.pc + 24:#x}")
    a.put("addi t4, t4, -1", f"bne t4, zero, {spin:#x}")
    a.put("lw t3, 0(a7)", f"jal zero, {again:#x}")
    a.count("s6", together)
    inner = a.pc
    # Some turns of an empty loop, so that harts meet in different places.
    a.put("slli t3, s7, 13", "xor s7, s7, t3", "srli t3, s7, 7", "xor s7, s7, t3")
    a.put("slli t3, s7, 17", "xor s7, s7, t3", "andi t3, s7, 15")
    a.put("addi t3, t3, -1", f"bge t3, zero, {a.pc:#x}")
    lines = test.harts[hart]
    end = a.pc + 4 * len(lines)
    a.put(*(line.format(end=f"{end:#x}") for line in lines))
    assert a.pc == end, f"{test.name}: {lines} are not instructions of four bytes each"
    a.put("sw a0, 0(s2)", "sw a1, 4(s2)")
    a.put(*(f"addi {register}, {register}, {STRIDE}" for register in ("s0", "s1", "s2")))
    a.put("addi s6, s6, -1", f"bne s6, zero, {inner:#x}")
    a.put("addi s3, s3, -1", f"bne s3, zero, {outer:#x}")
    a.put("sw zero, 0(a7)")
    return bytes(a.code)


def outcomes(
    accelerator: InterpAccelerator, test: Litmus, rounds: int = 1000, together: int = 1
) -> Counter[Outcome]:
    """Run a test on new CPUs of an accelerator, and count its outcomes."""
    size = WORDS - CODE + rounds * STRIDE
    ram = Ram("ram", -(-size // PAGE) * PAGE)
    accelerator.set_memory([MemorySlot(CODE, ram.size, ram.host)])
    first = len(accelerator.cpus)
    cpus = [accelerator.add_cpu(first + hart) for hart in range(len(test.harts))]
    for hart, cpu in enumerate(cpus):
        code = _program(hart, test, rounds, together)
        ram.bytes[hart * PAGE : hart * PAGE + len(code)] = code
        cpu.write_register("pc", CODE + hart * PAGE)
    failures: list[object] = []
    threads = [threading.Thread(target=_run, args=(cpu, failures)) for cpu in cpus]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, f"{test.name}: {failures}"
    counted = _counted(ram.bytes[WORDS - CODE :], len(cpus), rounds)
    ram.close()
    return counted


def _run(cpu: InterpCpu, failures: list[object]) -> None:
    while True:
        match cpu.run():
            case Mmio(address=address, write=False) if address == END:
                os.sched_yield()
            case Kicked():
                pass
            case exit_:
                break
    if not (isinstance(exit_, Mmio) and exit_.address == END):
        failures.append(exit_)


def _counted(memory: memoryview, harts: int, rounds: int) -> Counter[Outcome]:
    words = memory[: rounds * STRIDE].cast("I")
    counted: Counter[Outcome] = Counter()
    for start in range(0, len(words), STRIDE // 4):
        read = [start + (READ + hart * READ_STRIDE) // 4 for hart in range(harts)]
        seen = [words[at + n] for at in read for n in (0, 1)]
        counted[*seen, words[start], words[start + Y // 4]] += 1
    words.release()
    return counted
