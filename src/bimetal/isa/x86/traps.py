"""Exceptions (volume 3, table 6-1): their causes, and how descriptions raise them.

A cause is a vector, and further up whether it has an error code, that code, and how many bytes are
behind the instruction if it is one that was meant (`software`): INT n, INT3, INTO.
"""

from __future__ import annotations

from ...ir.value import Value, const
from ..trace import Cpu

__all__ = [
    "AGAIN", "ALIGNMENT", "BOUND", "BREAKPOINT", "CODE", "CODE_AT", "DEBUG", "DETECTED", "DIVIDE",
    "DOUBLE_FAULT", "EXTERNAL", "HAS_CODE", "LENGTH_AT", "MACHINE_CHECK", "MATH", "NMI",
    "NOT_PRESENT", "NO_MATH",
    "OVERFLOW", "PAGE_FAULT", "PROTECTION", "SIMD", "STACK", "TSS", "UNASKED",
    "UNCANONICAL", "UNDEFINED", "cause_of", "divide_error", "fault", "general_protection",
    "math_fault", "no_math",
    "simd_error", "software", "stack_fault", "undefined_opcode",
]  # fmt: skip

DIVIDE, DEBUG, NMI, BREAKPOINT, OVERFLOW, BOUND, UNDEFINED, NO_MATH, DOUBLE_FAULT = range(9)
TSS, NOT_PRESENT, STACK, PROTECTION, PAGE_FAULT = range(10, 15)
MATH, ALIGNMENT, MACHINE_CHECK, SIMD = range(16, 20)

HAS_CODE = 1 << 8
EXTERNAL = 1 << 9
"""It comes from outside: an interrupt, or NMI."""
UNASKED = 1 << 10
"""It is ICEBP: behind an instruction, and nobody has to allow it."""
DETECTED = 1 << 11
"""It is #DB of an access to debug registers."""
AGAIN = 1 << 32
"""It is none: the instruction begins anew."""
LENGTH_AT, CODE_AT = 12, 16
CODE = 0xFFFF << CODE_AT

UNCANONICAL = 1 << 33
"""It is #GP of an address, the trap's value, that is not canonical: #SS if it is of the stack."""

_WITH_CODE = {DOUBLE_FAULT, TSS, NOT_PRESENT, STACK, PROTECTION, PAGE_FAULT, ALIGNMENT}


def cause_of(vector: int, code: Value | int = 0) -> Value:
    """The cause of an exception; ``code`` is an error code of 16 bits or wider."""
    whole = const(vector | (HAS_CODE if vector in _WITH_CODE else 0), 64)
    if isinstance(code, Value):
        return whole | code.zext(64) << CODE_AT
    return whole | code << CODE_AT


def fault(
    cpu: Cpu, vector: int, code: Value | int = 0, value: Value | int = 0, more: int = 0
) -> None:
    """Raise an exception; ``value`` is what CR2 gets, of #DB DR6; ``more`` is said of the cause."""
    cpu.trap(cause_of(vector, code) | more, value)


def general_protection(cpu: Cpu, code: Value | int = 0) -> None:
    """#GP."""
    fault(cpu, PROTECTION, code)


def stack_fault(cpu: Cpu, code: Value | int = 0) -> None:
    """#SS."""
    fault(cpu, STACK, code)


def undefined_opcode(cpu: Cpu) -> None:
    """#UD."""
    fault(cpu, UNDEFINED)


def divide_error(cpu: Cpu) -> None:
    """#DE."""
    fault(cpu, DIVIDE)


def software(cpu: Cpu, vector: Value | int, more: int = 0) -> None:
    """Interrupt by an instruction: the handler returns to the next one."""
    number = vector if isinstance(vector, Value) else const(vector, 64)
    length = cpu.length
    size = const(length, 64) if isinstance(length, int) else length.zext(64)
    cpu.trap(number | size << LENGTH_AT | more)


def no_math(cpu: Cpu) -> None:
    """#NM: the x87 or vector registers are those of another task."""
    fault(cpu, NO_MATH)


def math_fault(cpu: Cpu) -> None:
    """#MF: an unmasked exception of the x87 is pending."""
    fault(cpu, MATH)


def simd_error(cpu: Cpu) -> None:
    """#XM: an unmasked exception of MXCSR's."""
    fault(cpu, SIMD)
