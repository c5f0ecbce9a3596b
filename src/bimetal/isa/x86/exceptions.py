"""Delivery of exceptions and interrupts (volume 3, chapter 6)."""

from __future__ import annotations

from ...ir.value import Value, const
from ..trace import Cpu
from .state import x86
from .traps import general_protection, undefined_opcode

__all__: list[str] = []


@x86.routine()
def undefined(cpu: Cpu) -> None:
    """#UD."""
    undefined_opcode(cpu)


@x86.routine(access=8, va=64)
def access_fault(cpu: Cpu, access: Value, va: Value) -> None:
    """Nothing is there, and no exception is defined for that; ours is #GP."""
    general_protection(cpu)


@x86.routine(access=8, va=64)
def misaligned(cpu: Cpu, access: Value, va: Value) -> None:
    """Of vectors and pairs that have to be aligned, whatever RFLAGS.AC says."""
    general_protection(cpu)


@x86.routine(returns=64, cause=64, value=64)
def take_trap(cpu: Cpu, cause: Value, value: Value) -> Value:
    """Without an IDT nothing can be delivered: the processor shuts down (6.15, triple fault)."""
    cpu.shutdown = const(1, 8)
    cpu.last_cause = cause
    pc: Value = cpu.pc
    return pc


@x86.routine(returns=64)
def pending_interrupt(cpu: Cpu) -> Value:
    """None."""
    return const(0, 64)


@x86.routine(returns=1)
def wakes(cpu: Cpu) -> Value:
    """Nothing."""
    return const(0, 1)


@x86.routine()
def poll_timer(cpu: Cpu) -> None:
    """The timer is the local APIC's."""


@x86.routine(returns=8)
def mode(cpu: Cpu) -> Value:
    """The privilege level."""
    level: Value = cpu.cpl
    return level
