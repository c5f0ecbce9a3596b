"""The registers that x87 and MMX share (volume 1, 8.1.2 and 9.2): significands, which are the MMX
registers, and signs with exponents, by physical number."""

from __future__ import annotations

from ...ir.value import Value, const
from ..trace import Cpu
from .state import x86

__all__ = ["TOP", "read_mmx", "use_mmx", "write_mmx"]

TOP = 11
"""Where FSW has the number of the register on top of the stack."""


def read_mmx(cpu: Cpu, number: Value) -> Value:
    """An MMX register; of its number there are three bits."""
    value: Value = cpu.mm[number[2:0]]
    return value


def use_mmx(cpu: Cpu) -> None:
    """What every MMX instruction but EMMS does beside: all registers are in use, and the stack's
    top is register 0."""
    cpu.fsw = cpu.fsw & ~(7 << TOP)
    cpu.ftw = const(0xFF, 8)


def write_mmx(cpu: Cpu, number: Value, value: Value) -> None:
    """Write an MMX register; to the x87 it is no number then."""
    cpu.mm[number[2:0]] = value
    cpu.exponent[number[2:0]] = const(0xFFFF, 16)


def _stack(n: int) -> None:
    def place(cpu: Cpu) -> Value:
        physical: Value = (cpu.fsw.lsr(TOP) + n).trunc(3)
        return physical

    def read(cpu: Cpu) -> Value:
        at = place(cpu)
        value: Value = cpu.mm[at].zext(80) | cpu.exponent[at].zext(80) << 64
        return value

    def write(cpu: Cpu, value: Value) -> None:
        at = place(cpu)
        cpu.mm[at] = value.trunc(64)
        cpu.exponent[at] = value[79:64]

    x86.view(f"st{n}", 80, read, write)


for _n in range(8):
    _stack(_n)
