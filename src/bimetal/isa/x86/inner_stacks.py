"""Stacks of inner privilege levels (volume 3, 8.2), as call gates and interrupts switch to them."""

from __future__ import annotations

from ...ir.value import Value, const, select
from ..trace import Cpu, ret, when
from .canonical import non_canonical
from .descriptors import (
    BASE_32,
    base_of,
    descriptor,
    dpl_of,
    is_long,
    limit_of,
    raise_for,
    rights_of,
)
from .segments import CODE, PRESENT, S_BIT, UNUSABLE, WRITABLE
from .state import SS, TR, x86
from .system_access import system_load
from .traps import STACK, TSS

__all__ = ["inner_selector", "inner_stack", "set_inner", "stack_checked"]

NULL = 0xFFFC


def set_inner(cpu: Cpu, selector: Value, stack: Value, level: Value) -> None:
    """Fill SS for an inner level; in IA-32e mode it is null."""
    long = is_long(cpu)
    cpu.selector[SS] = select(long, level.zext(16), selector)
    cpu.base[SS] = select(long, const(0, 64), base_of(stack))
    cpu.limit[SS] = select(long, const(0, 32), limit_of(stack))
    null = const(UNUSABLE, 32) | level.zext(32) << 5
    cpu.attributes[SS] = select(long, null, rights_of(stack) | 1)


@x86.routine(returns=64, level=8, ext=1)
def inner_stack(cpu: Cpu, level: Value, ext: Value) -> Value:
    """The stack pointer of an inner level, from the TSS (8.2)."""
    long = is_long(cpu)
    of_32 = (cpu.attributes[TR] & 8) != 0
    n = level.zext(64)
    offset = select(long | of_32, const(4, 64) + n * 8, n * 4 + 2)
    last = offset + select(long, const(7, 64), select(of_32, const(5, 64), 3))
    with when(cpu.limit[TR].zext(64).ult(last)):
        raise_for(cpu, TSS, cpu.selector[TR], ext)
    item = system_load(cpu, cpu.base[TR] + offset, 64)
    pointer = select(of_32, item & BASE_32, item & 0xFFFF)
    with when(long & non_canonical(cpu, item)):
        raise_for(cpu, STACK, const(0, 16), ext)
    return select(long, item, pointer)


@x86.routine(returns=16, level=8, ext=1)
def inner_selector(cpu: Cpu, level: Value, ext: Value) -> Value:
    """The stack segment of an inner level, from the TSS; null in IA-32e mode."""
    with when(is_long(cpu)):
        ret(level.zext(16))
    of_32 = (cpu.attributes[TR] & 8) != 0
    n = level.zext(64)
    offset = select(of_32, n * 8 + 8, n * 4 + 4)
    return system_load(cpu, cpu.base[TR] + offset, 16)


@x86.routine(returns=64, selector=16, level=8, ext=1)
def stack_checked(cpu: Cpu, selector: Value, level: Value, ext: Value) -> Value:
    """The descriptor of an inner level's stack segment: #TS if it is none, #SS if it is absent."""
    with when(is_long(cpu)):
        ret(const(0, 64))
    with when((selector & NULL) == 0):
        raise_for(cpu, TSS, selector, ext)
    d = descriptor(cpu, selector, TSS, ext)
    rights = rights_of(d)
    data = (rights & (S_BIT | CODE | WRITABLE)) == S_BIT | WRITABLE
    fits = (dpl_of(rights).trunc(8) == level) & ((selector & 3).trunc(8) == level)
    with when(~data | ~fits):
        raise_for(cpu, TSS, selector, ext)
    with when((rights & PRESENT) == 0):
        raise_for(cpu, STACK, selector, ext)
    return d
