"""Accesses of the processor itself to descriptor tables, task states and the stacks of other
privilege levels (volume 3, 4.6.1, "implicit supervisor-mode accesses")."""

from __future__ import annotations

from ...ir.value import Value, const
from ..contract import FETCH, LOAD, STORE
from ..trace import Cpu, ret, when
from .flags import AC
from .state import x86

__all__ = ["SYSTEM", "code_byte", "now", "system_load", "system_store"]

SYSTEM = 16
"""Modifier of a kind of access: as the supervisor, whatever the privilege level is."""
PAGE_MASK = 0xFFF
WIDTHS = (8, 16, 32, 64)


def _physical(cpu: Cpu, va: Value, access: Value) -> Value:
    page = x86.hooks["translate"](cpu, va, access)
    address: Value = (page & ((1 << 52) - 1) & ~PAGE_MASK) | (va & PAGE_MASK)
    return address


@x86.routine(returns=64, va=64)
def system_byte(cpu: Cpu, va: Value) -> Value:
    """A byte."""
    return cpu.load_physical(_physical(cpu, va, const(LOAD | SYSTEM, 8)), 8).zext(64)


@x86.routine(returns=8, va=64)
def code_byte(cpu: Cpu, va: Value) -> Value:
    """A byte of code that is being executed."""
    return cpu.load_physical(_physical(cpu, va, const(FETCH, 8)), 8)


@x86.routine(returns=64, va=64)
def system_word(cpu: Cpu, va: Value) -> Value:
    """Eight bytes at a multiple of eight."""
    return cpu.load_physical(_physical(cpu, va, const(LOAD | SYSTEM, 8)), 64)


def _as_program(cpu: Cpu) -> Value:
    """Whether the program of now could make the same accesses, so that they go through the TLB:
    at level 0, and without RFLAGS.AC, which SMAP does not ask for here. Breakpoints of data are
    not met. While tasks are switched the TLB in use may be that of another level, or space."""
    free = ((cpu.system_flags & AC) == 0) & (cpu.debugging == 0)
    same: Value = (cpu.cpl == 0) & free & (cpu.task_entered != now(cpu))
    return same


def now(cpu: Cpu) -> Value:
    """A number that no other instruction has, nor the state after a reset."""
    return cpu.host("instret", 64) + 1


@x86.routine(returns=64, va=64, size=8)
def system_bytes(cpu: Cpu, va: Value, size: Value) -> Value:
    """Up to eight bytes; more may be looked at if these are all in one multiple of eight."""
    with when(_as_program(cpu)):
        for width in WIDTHS:
            with when(size == width // 8):
                ret(cpu.load(va, width).zext(64))
    offset = va & 7
    with when((offset + size.zext(64)).ult(9)):
        ret(system_word(cpu, va & ~7).lsr(offset << 3))
    whole = cpu.local(const(0, 64))
    for n in range(8):
        with when(const(n, 8).ult(size)):
            whole.set(whole.value | system_byte(cpu, va + n) << 8 * n)
    return whole.value


def system_load(cpu: Cpu, va: Value, width: int) -> Value:
    """Load 8 to 64 bits from a linear address, as the supervisor."""
    return system_bytes(cpu, va, width // 8).trunc(width)


@x86.routine(va=64, value=64, size=8, access=8)
def store_bytes(cpu: Cpu, va: Value, value: Value, size: Value, access: Value) -> None:
    """Store up to eight bytes. If a page of them cannot be written nothing is stored."""
    with when(_as_program(cpu) & (access == (STORE | SYSTEM))):
        for width in WIDTHS:
            with when(size == width // 8):
                cpu.store(va, value.trunc(width))
                ret()
    first = _physical(cpu, va, access)
    for width in WIDTHS:
        with when((size == width // 8) & ((va & (width // 8 - 1)) == 0)):
            cpu.store_physical(first, value.trunc(width))
            ret()
    last = _physical(cpu, va + size.zext(64) - 1, access)
    for n in range(8):
        with when(const(n, 8).ult(size)):
            inside = ((va & PAGE_MASK) + n).ult(PAGE_MASK + 1)
            at = cpu.local(first + n)
            with when(~inside):
                at.set(last - size.zext(64) + 1 + n)
            cpu.store_physical(at.value, value.lsr(8 * n).trunc(8))


def system_store(cpu: Cpu, va: Value, value: Value, user: Value | int = 0) -> None:
    """Store 8 to 64 bits at a linear address, as the supervisor or as a ``user`` (one bit)."""
    kind = const(STORE | SYSTEM, 8)
    if isinstance(user, Value):
        kind = kind ^ (user.zext(8) * (SYSTEM | AS_USER))
    store_bytes(cpu, va, value.zext(64), value.width // 8, kind)


AS_USER = 4
"""Modifier of a kind of access: as a user (`contract.UNPRIVILEGED`)."""
