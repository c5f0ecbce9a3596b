"""Operands that several chapters share: the stack pointer among registers, shifts, extensions."""

from __future__ import annotations

from collections.abc import Callable

from ...ir.value import Value, const, pure, select
from ..trace import Cpu, pin, slowly, when
from .hosts import ruling_control
from .state import a64
from .syndromes import EL0, SP_ALIGNMENT, syndrome

__all__ = [
    "FORMS",
    "SHIFTS",
    "Form",
    "base_register",
    "extended",
    "read_sp",
    "shifted",
    "write",
    "write_sp",
]

Form = tuple[str, int, str]
"""The letter of a register, its width, and the bit ``sf`` that encodes it."""

FORMS: tuple[Form, ...] = (("w", 32, "0"), ("x", 64, "1"))

Shift = Callable[[Value, Value], Value]
SA, SA0 = 1 << 3, 1 << 4
"""Of SCTLR_ELx: the stack pointer is checked, of its own level and of EL0."""

SHIFTS: tuple[Shift, ...] = (
    lambda value, amount: value << amount,
    lambda value, amount: value.lsr(amount),
    lambda value, amount: value.asr(amount),
    lambda value, amount: pure("rotr", value, amount),
)


def read_sp(cpu: Cpu, number: Value, width: int = 64) -> Value:
    """A register where 31 is the stack pointer."""
    return select(number == 31, cpu.sp, cpu.x[number]).trunc(width)


@a64.routine()
def check_stack(cpu: Cpu) -> None:
    """Raise the exception of a stack pointer that is not aligned, where SCTLR_ELx.SA or SA0 asks
    for one."""
    of_el0 = cpu.el == EL0
    asked = select(of_el0, const(SA0, 64), SA)
    with when((ruling_control(cpu) & asked) != 0):
        cpu.trap(syndrome(SP_ALIGNMENT))


def base_register(cpu: Cpu, number: Value) -> Value:
    """The base register of a load or store: the stack pointer has to be aligned (D1.3.10)."""
    address = read_sp(cpu, number)
    with slowly((number == 31) & ((address & 15) != 0)):
        check_stack(cpu)
    return address


def write_sp(cpu: Cpu, number: Value, value: Value) -> None:
    """Write a register where 31 is the stack pointer; upper halves are cleared."""
    whole = value.zext(64)
    with when(number == 31) as stack:
        cpu.sp = whole
        with stack.otherwise():
            cpu.x[number] = whole


def write(cpu: Cpu, number: Value, value: Value) -> None:
    """Write a register where 31 is none; the upper half is cleared."""
    cpu.x[number] = value.zext(64)


def shifted(value: Value, kind: Value, amount: Value) -> Value:
    """ShiftReg (J1.1.3); ``amount`` is below the width."""
    return SHIFTS[pin(kind)](value, amount.zext(value.width) & (value.width - 1))


def extended(value: Value, option: Value, amount: Value, width: int) -> Value:
    """ExtendReg (J1.1.3) of a whole register to ``width`` bits, shifted left by up to 4."""
    kind = pin(option)
    size = min(8 << (kind & 3), width)
    low = value.trunc(size)
    wide = low.sext(width) if kind & 4 else low.zext(width)
    return wide << amount.zext(width)
