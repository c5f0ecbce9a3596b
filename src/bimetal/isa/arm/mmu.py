"""Address translation (D8), as far as there is any: the MMU is off."""

from __future__ import annotations

from ...ir.value import Value, const, select
from ..trace import Cpu
from .exceptions import DATA_ABORT, FETCH_ABORT, syndrome
from .state import a64

__all__ = ["translate"]

LOAD, STORE, FETCH = 0, 1, 2
READ_OK, WRITE_OK = 1, 2
# Fault status codes (D17.2.37).
ALIGNMENT, EXTERNAL = 0x21, 0x10
WRITE = 1 << 6


@a64.routine(access=8, va=64, status=8)
def abort(cpu: Cpu, access: Value, va: Value, status: Value) -> None:
    """Raise the abort of an access, with its fault status code."""
    data = syndrome(DATA_ABORT) | select(access[0] == STORE, const(WRITE, 64), 0)
    cpu.trap(select(access[1] == 1, syndrome(FETCH_ABORT), data) | status.zext(64), va)


@a64.routine(access=8, va=64)
def access_fault(cpu: Cpu, access: Value, va: Value) -> None:
    """Raise the abort of an access to where nothing is."""
    abort(cpu, access, va, const(EXTERNAL, 8))


@a64.routine(access=8, va=64)
def misaligned(cpu: Cpu, access: Value, va: Value) -> None:
    """Raise the alignment fault."""
    abort(cpu, access, va, const(ALIGNMENT, 8))


@a64.routine(returns=64, va=64, access=8)
def translate(cpu: Cpu, va: Value, access: Value) -> Value:
    """See `Hooks.translate`."""
    return (va & ~0xFFF) | READ_OK | WRITE_OK


@a64.routine(returns=8)
def context(cpu: Cpu) -> Value:
    """The TLBs of the exception level."""
    level: Value = cpu.el
    return level


@a64.routine(returns=8)
def user_context(cpu: Cpu) -> Value:
    """The TLBs of unprivileged accesses."""
    return const(0, 8)


@a64.routine(returns=1, number=8)
def volatile_context(cpu: Cpu, number: Value) -> Value:
    """All of them depend on the mode alone."""
    return const(0, 1)
