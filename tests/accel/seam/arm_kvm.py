"""KVM on 64-bit Arm: programs at EL1 without translation, from the few encodings they need."""

from __future__ import annotations

import struct

from bimetal.accel.kvm.host import create
from bimetal.seam import Accelerator, Cpu
from tests.accel.seam.bed import Bed, Board
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

__all__ = ["KvmArmBed"]

ADDRESS, VALUE, ACCUMULATOR = 0, 1, 2
STORES = {1: 0x3900_0000, 2: 0x7900_0000, 4: 0xB900_0000, 8: 0xF900_0000}
LOADS = {1: 0x3940_0000, 2: 0x7940_0000, 4: 0xB940_0000, 8: 0xF940_0000}
MOVZ, MOVK, NOP, WFI, BRANCH_HERE = 0xD280_0000, 0xF280_0000, 0xD503_201F, 0xD503_207F, 0x1400_0000
ERET, CBZ_BACK = 0xD69F_03E0, 0x34FF_FFE0
PER_CPU, VECTORS, IRQ_VECTOR = 0x2000, 0x1000, 0x280
EL1H, MASKED = 0x5, 0x3C0
IN_KERNEL = "KVM keeps a waiting CPU in the kernel"
NO_DEBUG = "debug registers of Arm are not used yet"


def _constant(register: int, value: int) -> list[int]:
    pieces = [(MOVZ if part == 0 else MOVK, part, value >> 16 * part & 0xFFFF) for part in range(4)]
    return [code | part << 21 | piece << 5 | register for code, part, piece in pieces]


def _at_address(code: int, register: int) -> int:
    return code | ADDRESS << 5 | register


def _words(step: Step) -> list[int]:
    match step:
        case Store(address, value, size):
            stored = _at_address(STORES[size], VALUE)
            return [*_constant(ADDRESS, address), *_constant(VALUE, value), stored]
        case Load(address, size):
            return [*_constant(ADDRESS, address), _at_address(LOADS[size], ACCUMULATOR)]
        case Put(address, size):
            return [*_constant(ADDRESS, address), _at_address(STORES[size], ACCUMULATOR)]
        case Wait():
            return [WFI]
        case Nop():
            return [NOP]
        case Spin():
            return [BRANCH_HERE]
        case SpinWhileZero(address):
            return [*_constant(ADDRESS, address), _at_address(LOADS[1], VALUE), CBZ_BACK | VALUE]
        case In() | Out():
            raise ValueError("Arm has no ports")


def _code(steps: tuple[Step, ...], *more: int) -> bytes:
    words = [word for step in steps for word in _words(step)] + list(more)
    return struct.pack(f"<{len(words)}I", *words)


class KvmArmBed(Bed):
    """vCPUs without an interrupt controller; IRQ is the line."""

    name = "kvm-arm64"
    ram = 0x4000_0000
    device = 0x0900_0000
    line = 0
    pc = "pc"
    scratch = "x20"
    missing = {
        "ports": "Arm has no ports",
        "halts": IN_KERNEL,
        "breakpoints": NO_DEBUG,
        "watchpoints": NO_DEBUG,
        "second cpu": "a CPU waits until the first one starts it",
    }

    def accelerator(self, cpus: int) -> Accelerator:
        return create("aarch64", cpus=cpus)

    def prepare(self, board: Board, cpu: Cpu, program: Program) -> None:
        start = self.entry(cpu.index)
        board.write(start, _code(program.steps))
        cpu.write_register("pc", start)
        if program.handler:
            board.write(start + VECTORS + IRQ_VECTOR, _code(program.handler, ERET))
            cpu.write_register("vbar_el1", start + VECTORS)
        cpu.write_register("pstate", EL1H if program.handler else EL1H | MASKED)

    def entry(self, index: int) -> int:
        return self.ram + 0x1_0000 + PER_CPU * index
