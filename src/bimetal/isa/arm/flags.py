"""PSTATE's condition flags (B1.2.2) and the conditions that test them (C1.2.4)."""

from __future__ import annotations

from collections.abc import Callable

from ...ir.value import Value, const
from ..trace import Cpu, pin

__all__ = [
    "Flags", "added", "added_with_carry", "holds", "holds_of_any", "set_flags", "set_nz",
    "subtracted",
]  # fmt: skip

_CONDITIONS: tuple[Callable[[Cpu], Value], ...] = (
    lambda cpu: cpu.zf,
    lambda cpu: cpu.cf,
    lambda cpu: cpu.nf,
    lambda cpu: cpu.vf,
    lambda cpu: cpu.cf & ~cpu.zf,
    lambda cpu: ~(cpu.nf ^ cpu.vf),
    lambda cpu: ~(cpu.nf ^ cpu.vf) & ~cpu.zf,
    lambda cpu: const(1, 1),
)


def holds(cpu: Cpu, cond: Value) -> Value:
    """ConditionHolds: bit 0 of ``cond`` inverts the condition, except for 0b1111, always true."""
    number = pin(cond)
    truth = _CONDITIONS[number >> 1](cpu)
    return ~truth if number & 1 and number != 15 else truth


def holds_of_any(cpu: Cpu, cond: Value) -> Value:
    """The same for a condition that is not pinned: long instructions are traced only once."""
    truths = const(0, 8)
    for number, condition in enumerate(_CONDITIONS):
        truths = truths | condition(cpu).zext(8) << number
    inverted = cond[0] & (cond != 15)
    return truths.lsr(cond[3:1].zext(8))[0] ^ inverted


def set_flags(cpu: Cpu, n: Value | int, z: Value | int, c: Value | int, v: Value | int) -> None:
    """Write all four flags."""
    cpu.nf, cpu.zf, cpu.cf, cpu.vf = n, z, c, v


def set_nz(cpu: Cpu, result: Value) -> None:
    """The flags of a logical operation: C and V are 0."""
    set_flags(cpu, result[result.width - 1], result == 0, 0, 0)


Flags = tuple[Value, Value, Value, Value]
"""N, Z, C and V."""


def added(a: Value, b: Value) -> tuple[Value, Flags]:
    """AddWithCarry (J1.1.3) of two operands: the sum, and its flags."""
    top, total = a.width - 1, a + b
    return total, (total[top], total == 0, total.ult(a), ((a ^ total) & (b ^ total))[top])


def subtracted(a: Value, b: Value) -> tuple[Value, Flags]:
    """AddWithCarry of ``a``, the inverse of ``b`` and 1: the difference, and its flags.

    V is written as what N differs by from ``a < b``, so that LLVM finds the comparison again.
    """
    top, total = a.width - 1, a - b
    return total, (total[top], total == 0, a.uge(b), a.slt(b) ^ total[top])


def added_with_carry(a: Value, b: Value, carry: Value) -> tuple[Value, Flags]:
    """AddWithCarry with the carry flag as the carry in."""
    top, total = a.width - 1, a + b + carry.zext(a.width)
    carried = ((a & b) | ((a | b) & ~total))[top]
    return total, (total[top], total == 0, carried, ((a ^ total) & (b ^ total))[top])
