"""System registers: each is a pair of instructions, MRS and MSR, with its name in their text.

So a register that programs read all the time (TPIDR_EL0, CNTVCT_EL0) is decoded once and then as
quick as any other instruction, and the list of what there is follows from the descriptions.
"""

from __future__ import annotations

from collections.abc import Callable

from ...ir.value import Value
from ..trace import Cpu
from .state import a64

__all__ = ["REGISTERS", "Encoding", "system_register"]

Encoding = tuple[int, int, int, int, int]
"""op0, op1, CRn, CRm, op2 (D17.1)."""

REGISTERS: dict[str, Encoding] = {}
"""Every described register."""

Check = Callable[[Cpu, bool], None]
"""Raises the exception of an access that the current exception level may not make; told whether
it is a write."""


def system_register(
    name: str,
    encoding: Encoding,
    read: Callable[[Cpu], Value] | None,
    write: Callable[[Cpu, Value], None] | None = None,
    check: Check | None = None,
) -> None:
    """Describe a register. Without ``read`` it cannot be read, without ``write`` not written."""
    assert name not in REGISTERS, name
    REGISTERS[name] = encoding
    op0, op1, crn, crm, op2 = encoding
    assert op0 in (2, 3), name
    place = f"{op0 - 2:b} {op1:03b} {crn:04b} {crm:04b} {op2:03b}"
    if read is not None:
        _mrs(name, place, read, check)
    if write is not None:
        _msr(name, place, write, check)


def _mrs(name: str, place: str, read: Callable[[Cpu], Value], check: Check | None) -> None:
    @a64.insn(f"1101010100 1 1 {place} Rt:5", f"mrs {{Rt:x}}, {name}", name=f"mrs_{name}")
    def meaning(cpu: Cpu, Rt: Value) -> None:
        if check is not None:
            check(cpu, False)
        cpu.x[Rt] = read(cpu)


def _msr(name: str, place: str, write: Callable[[Cpu, Value], None], check: Check | None) -> None:
    @a64.insn(f"1101010100 0 1 {place} Rt:5", f"msr {name}, {{Rt:x}}", name=f"msr_{name}")
    def meaning(cpu: Cpu, Rt: Value) -> None:
        if check is not None:
            check(cpu, True)
        write(cpu, cpu.x[Rt])
