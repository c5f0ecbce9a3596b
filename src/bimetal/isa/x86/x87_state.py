"""The x87's registers as a stack (volume 1, 8.1)."""

from __future__ import annotations

from ...ir.value import Value, const, select
from ..trace import Cpu
from .mmx_state import TOP

__all__ = [
    "C0",
    "C1",
    "C2",
    "C3",
    "ES",
    "INIT_FCW",
    "B",
    "in_use",
    "place",
    "read_register",
    "renew_status",
    "write_register",
]  # fmt: skip

INIT_FCW = 0x37F
C0, C1, C2, C3 = 1 << 8, 1 << 9, 1 << 10, 1 << 14
ES, B = 1 << 7, 1 << 15
"""Of FSW: condition codes; whether an unmasked exception is pending, and the same again."""


def place(cpu: Cpu, n: Value | int) -> Value:
    """The physical number of ST(n)."""
    top = cpu.fsw.lsr(TOP)
    n = n.zext(16) if isinstance(n, Value) else n
    at: Value = (top + n).trunc(3)
    return at


def read_register(cpu: Cpu, n: Value | int) -> Value:
    """ST(n), 80 bits."""
    at = place(cpu, n)
    value: Value = cpu.mm[at].zext(80) | cpu.exponent[at].zext(80) << 64
    return value


def write_register(cpu: Cpu, n: Value | int, value: Value) -> None:
    """Set ST(n), and leave its tag alone."""
    at = place(cpu, n)
    cpu.mm[at] = value.trunc(64)
    cpu.exponent[at] = value[79:64]


def in_use(cpu: Cpu, n: Value | int) -> Value:
    """Whether ST(n) is in use."""
    used: Value = cpu.ftw.lsr(place(cpu, n).zext(8))[0]
    return used


def renew_status(fsw: Value, fcw: Value) -> Value:
    """FSW with ES and B as they follow from flags and masks."""
    pending = (fsw & ~fcw & 0x3F) != 0
    return (fsw & ~(ES | B)) | select(pending, const(ES | B, 16), 0)
