"""RFLAGS (volume 1, 3.4.3): the flags of arithmetic, conditions, and all of the register."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...ir.value import Value, const, lift, pure
from ..trace import Cpu
from .state import FLAGS, x86

__all__ = [
    "AC",
    "ALWAYS",
    "DF",
    "ID",
    "IF",
    "IOPL",
    "KNOWN",
    "NT",
    "RF",
    "TF",
    "VIF",
    "VIP",
    "VM",
    "Flags",
    "added",
    "arithmetic_flags",
    "condition",
    "flags_of",
    "of_logic",
    "parity",
    "rflags",
    "set_arithmetic_flags",
    "set_flags",
    "subtracted",
]  # fmt: skip

ALWAYS = 1 << 1
TF, IF, DF, IOPL, NT = 1 << 8, 1 << 9, 1 << 10, 3 << 12, 1 << 14
RF, VM, AC, VIF, VIP, ID = (1 << n for n in range(16, 22))

_PLACES = {"cf": 0, "pf": 2, "af": 4, "zf": 6, "sf": 7, "of": 11}


def parity(result: Value) -> Value:
    """PF: whether the low byte has an even number of ones."""
    return pure("popcount", result.trunc(8))[0] ^ 1


Flags = Mapping[str, Value]
"""The new values of flags by their names."""


def flags_of(result: Value, cf: Value | int, of: Value | int, af: Value | int) -> Flags:
    """All flags, of which SF, ZF and PF follow from a result."""
    return {
        "cf": lift(cf, 1),
        "pf": parity(result),
        "af": lift(af, 1),
        "zf": result == 0,
        "sf": result[result.width - 1],
        "of": lift(of, 1),
    }


def set_flags(cpu: Cpu, flags: Flags, keep: str = "") -> None:
    """Assign flags, but for one that stays."""
    for name in FLAGS:
        if name in flags and name != keep:
            setattr(cpu, name, flags[name])


def of_logic(result: Value) -> Flags:
    """Those of AND, OR, XOR and TEST; AF, which is undefined, becomes 0."""
    return flags_of(result, 0, 0, 0)


def added(a: Value, b: Value, carry: Value | None = None) -> tuple[Value, Flags]:
    """A sum, perhaps with a carry, and its flags."""
    total, top = a + b, a.width - 1
    carried = total.ult(a)
    if carry is not None:
        total = total + carry.zext(a.width)
        carried = ((a & b) | ((a | b) & ~total))[top]
    overflow = ((a ^ total) & (b ^ total))[top]
    return total, flags_of(total, carried, overflow, (a ^ b ^ total)[4])


def subtracted(a: Value, b: Value, borrow: Value | None = None) -> tuple[Value, Flags]:
    """A difference and its flags. OF is written as what SF differs by from ``a < b``, so that LLVM
    finds the comparison again."""
    total, top = a - b, a.width - 1
    borrowed, overflow = a.ult(b), a.slt(b) ^ total[top]
    if borrow is not None:
        total = total - borrow.zext(a.width)
        borrowed = ((~a & b) | ((~a | b) & total))[top]
        overflow = ((a ^ b) & (a ^ total))[top]
    return total, flags_of(total, borrowed, overflow, (a ^ b ^ total)[4])


_CONDITIONS: tuple[Callable[[Cpu], Value], ...] = (
    lambda cpu: cpu.of,
    lambda cpu: cpu.cf,
    lambda cpu: cpu.zf,
    lambda cpu: cpu.cf | cpu.zf,
    lambda cpu: cpu.sf,
    lambda cpu: cpu.pf,
    lambda cpu: cpu.sf ^ cpu.of,
    lambda cpu: (cpu.sf ^ cpu.of) | cpu.zf,
)


def condition(cpu: Cpu, cc: Value) -> Value:
    """Whether a condition holds (volume 1, appendix B); its number may be known or not."""
    if cc.known:
        truth = _CONDITIONS[int(cc) >> 1](cpu)
        return ~truth if int(cc) & 1 else truth
    truths = const(0, 8)
    for number, each in enumerate(_CONDITIONS):
        truths = truths | each(cpu).zext(8) << number
    return truths.lsr(cc[3:1].zext(8))[0] ^ cc[0]


def arithmetic_flags(cpu: Cpu) -> Value:
    """The flags of arithmetic where they stand in RFLAGS, as 16 bits, with the bit that is 1."""
    total = const(ALWAYS, 16)
    for name, place in _PLACES.items():
        flag: Value = getattr(cpu, name)
        total = total | flag.zext(16) << place
    return total


def set_arithmetic_flags(cpu: Cpu, value: Value) -> None:
    """Set them from a value of RFLAGS."""
    for name, place in _PLACES.items():
        setattr(cpu, name, value[place])


def rflags(cpu: Cpu) -> Value:
    """All of RFLAGS."""
    whole: Value = arithmetic_flags(cpu).zext(32) | cpu.system_flags
    return whole.zext(64)


KNOWN = TF | IF | DF | IOPL | NT | RF | VM | AC | VIF | VIP | ID


def _write(cpu: Cpu, value: Value) -> None:
    set_arithmetic_flags(cpu, value)
    cpu.system_flags = value.trunc(32) & KNOWN


x86.view("rflags", 64, rflags, _write)
