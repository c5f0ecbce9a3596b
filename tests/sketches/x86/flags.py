"""RFLAGS, which follow from the last operation (volume 1, 3.4.3)."""

from __future__ import annotations

from bimetal.ir.value import Value, const, pure, select
from bimetal.isa.trace import Cpu

from .state import IF, x86

__all__ = [
    "ADD", "CF", "LOADED", "LOGIC", "STATUS", "SUB", "condition", "eflags", "load_flags", "record",
    "rflags", "set_status", "worked_out",
]  # fmt: skip

ADD, SUB, LOGIC, LOADED = range(4)
CF, STATUS = 1, 0x8D5
ALWAYS = 1 << 1


def record(cpu: Cpu, operation: int, a: Value, b: Value, result: Value) -> None:
    """Remember what the flags follow from."""
    cpu.flag_op, cpu.flag_width = const(operation, 8), const(a.width, 8)
    cpu.flag_a, cpu.flag_b, cpu.flag_r = a.zext(64), b.zext(64), result.zext(64)


def set_status(cpu: Cpu, value: Value) -> None:
    """Set the flags of arithmetic as they stand in RFLAGS."""
    cpu.flag_op, cpu.flag_a = const(LOADED, 8), value & STATUS


def load_flags(cpu: Cpu, value: Value) -> None:
    """Set all flags, as iret does."""
    set_status(cpu, value)
    cpu.interrupts = ((value & IF) != 0).zext(8)


def worked_out(operation: Value, width: Value, a: Value, b: Value, result: Value) -> Value:
    """The flags of an operation on operands of so many bits, 8 to 64."""
    up = (const(64, 64) - width.zext(64)) & 63
    high_a, high_b, high = a << up, b << up, result << up
    adding, logic = operation == ADD, operation == LOGIC
    carry = select(adding, high.ult(high_a), high_a.ult(high_b)) & ~logic
    differ = select(adding, high_b ^ high, high_a ^ high_b)
    overflow = ((high_a ^ high) & differ)[63] & ~logic
    even = pure("popcount", result.trunc(8))[0] ^ 1
    half = (a ^ b ^ result)[4] & ~logic
    bits = ((overflow, 11), (high[63], 7), (high == 0, 6), (half, 4), (even, 2), (carry, 0))
    total = const(0, 64)
    for bit, position in bits:
        total = total | bit.zext(64) << position
    return total


@x86.routine(returns=64)
def eflags(cpu: Cpu) -> Value:
    """OF, SF, ZF, AF, PF and CF where they stand in RFLAGS."""
    found = worked_out(cpu.flag_op, cpu.flag_width, cpu.flag_a, cpu.flag_b, cpu.flag_r)
    return select(cpu.flag_op == LOADED, cpu.flag_a, found)


def rflags(cpu: Cpu) -> Value:
    """All of RFLAGS that the sketch has."""
    return eflags(cpu) | select(cpu.interrupts != 0, const(IF, 64), 0) | ALWAYS


x86.view("rflags", 64, rflags, load_flags)


def condition(cpu: Cpu, number: int) -> Value:
    """The conditions of Jcc, SETcc and CMOVcc (volume 1, appendix B), in place."""
    flags = eflags.inline(cpu)
    overflow, sign, zero, parity, carry = (flags[n] for n in (11, 7, 6, 2, 0))
    less = sign ^ overflow
    truth = (overflow, carry, zero, carry | zero, sign, parity, less, less | zero)[number >> 1]
    return ~truth if number & 1 else truth
