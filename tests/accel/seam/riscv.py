"""RISC-V accelerators: programs in machine mode without translation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bimetal.accel.choose import create
from bimetal.accel.reference import Reference
from bimetal.base.clock import RealClock
from bimetal.isa.names import instruction_set
from bimetal.seam import Accelerator, Cpu
from tests.accel.seam.bed import Bed, Board, text_of
from tests.accel.seam.guests import (
    In,
    Load,
    Nop,
    Out,
    Program,
    Put,
    Spin,
    SpinWhileZero,
    Step,
    Store,
    Wait,
)

__all__ = ["A_HINT", "PER_CPU", "RiscvBed", "code", "native", "reference", "text"]

NO_PORTS = "RISC-V has no ports"
A_HINT = "wfi may end at any time: privileged manual, Wait for Interrupt"
MACHINE_EXTERNAL = 11
PER_CPU = 0x2000
STORES = {1: "sb", 2: "sh", 4: "sw", 8: "sd"}
LOADS = {1: "lbu", 2: "lhu", 4: "lwu", 8: "ld"}


def _constant(register: str, value: int) -> list[str]:
    """``value`` in ``register``, eleven bits at a time."""
    pieces = [value >> shift & 0x7FF for shift in range(0, 66, 11)][::-1]
    lines = [f"addi {register}, zero, {pieces[0]}"]
    for piece in pieces[1:]:
        lines += [f"slli {register}, {register}, 11", f"addi {register}, {register}, {piece}"]
    return lines


def text(step: Step) -> list[str]:
    match step:
        case Store(address, value, size):
            stored = f"{STORES[size]} t1, 0(t0)"
            return [*_constant("t0", address), *_constant("t1", value), stored]
        case Load(address, size):
            return [*_constant("t0", address), f"{LOADS[size]} a0, 0(t0)"]
        case Put(address, size):
            return [*_constant("t0", address), f"{STORES[size]} a0, 0(t0)"]
        case Wait():
            return ["wfi"]
        case Nop():
            return ["addi zero, zero, 0"]
        case Spin():
            return ["jal zero, 0"]
        case SpinWhileZero(address):
            return [*_constant("t0", address), "lbu t1, 0(t0)", "beq t1, zero, -4"]
        case In() | Out():
            raise ValueError(NO_PORTS)


class RiscvBed(Bed):
    """A RISC-V accelerator of ours.

    ``mode`` is the letter of the mode that programs run in, ``enabled`` the bit of its status
    register that lets interrupts through.
    """

    ram = 0x8000_0000
    device = 0x1000_0000
    line = MACHINE_EXTERNAL
    pc = "pc"
    scratch = "s11"
    mode, enabled = "m", 1 << 3

    def __init__(
        self, name: str, make: Callable[[int], Accelerator], missing: Mapping[str, str]
    ) -> None:
        self.name, self._make = name, make
        self.missing = {"ports": NO_PORTS, "lasting halts": A_HINT, **missing}

    def accelerator(self, cpus: int) -> Accelerator:
        return self._make(cpus)

    def prepare(self, board: Board, cpu: Cpu, program: Program) -> None:
        start = self.entry(cpu.index)
        board.write(start, code(text_of(program.steps, text), start))
        cpu.write_register("pc", start)
        if program.handler:
            handler = start + PER_CPU // 2
            lines = [*text_of(program.handler, text), f"{self.mode}ret"]
            board.write(handler, code(lines, handler))
            cpu.write_register(f"{self.mode}tvec", handler)
            cpu.write_register(f"{self.mode}ie", 1 << self.line)
            status = f"{self.mode}status"
            cpu.write_register(status, cpu.read_register(status) | self.enabled)

    def entry(self, index: int) -> int:
        return self.ram + 0x1000 + PER_CPU * index


def code(lines: list[str], start: int) -> bytes:
    isa = instruction_set("riscv64")
    code = b""
    for line in lines:
        code += isa.assemble(_placed(line, start + len(code)), start + len(code))
    return code


def _placed(line: str, here: int) -> str:
    """Jumps are written relative to themselves; the assembler wants addresses."""
    head, _, distance = line.rpartition(" ")
    return f"{head} {here + int(distance):#x}" if head.split(" ")[0] in ("jal", "beq") else line


def native(name: str) -> RiscvBed:
    """An accelerator of ours that runs native code: ``interp`` or ``jit``."""

    def make(cpus: int) -> Accelerator:
        return create(name, "riscv64", clock=RealClock(), firmware_calls=False, cpus=cpus)

    return RiscvBed(f"{name}-riscv64", make, {})


def reference() -> RiscvBed:
    """The slow living definition."""

    def make(cpus: int) -> Accelerator:
        return Reference("riscv64", clock=RealClock())

    return RiscvBed("reference-riscv64", make, {"threads": "it runs one CPU at a time"})
