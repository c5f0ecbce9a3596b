"""Far returns (volume 3, 5.8.6): to the same privilege level or an outer one."""

from __future__ import annotations

from ...ir.value import Value, const, select
from ..trace import Cpu, ret, when
from .descriptors import (
    CONFORMING,
    base_of,
    descriptor,
    dpl_of,
    in_real_mode,
    in_v86,
    is_long,
    limit_of,
    raise_for,
    rights_of,
)  # fmt: skip
from .fields import SP
from .modes import derive
from .segments import BIG, CODE, L_BIT, PRESENT, S_BIT, UNUSABLE, WRITABLE
from .state import DS, ES, FS, GS, SS, x86
from .transfers import code_address, enter_real, pop_item, set_code, stack_width
from .traps import NOT_PRESENT, PROTECTION, STACK

__all__ = ["far_return", "return_checked", "return_outer"]

NULL = 0xFFFC


@x86.routine(returns=64, osize=8, drop=64)
def far_return(cpu: Cpu, osize: Value, drop: Value) -> Value:
    """RET far, which drops bytes of parameters."""
    long = cpu.decoding == 0
    mask = stack_width(cpu, cpu.attributes[SS], long)
    base = select(long, const(0, 64), cpu.base[SS])
    size, top = const(2, 64) << osize.zext(64), cpu.r[SP]
    offset = pop_item(cpu, base + (top & mask), osize)
    selector = pop_item(cpu, base + ((top + size) & mask), osize).trunc(16)
    after = top + size * 2 + drop
    with when(in_real_mode(cpu) | in_v86(cpu)):
        to = enter_real(cpu, selector, offset)
        cpu.r[SP] = select(mask == 0xFFFF, (top & ~0xFFFF) | (after & 0xFFFF), after & mask)
        ret(to)
    level = (selector & 3).trunc(8)
    d = return_checked(cpu, selector)
    to = code_address(cpu, d, offset)
    with when(level == cpu.cpl):
        cut = select(mask == 0xFFFF, (top & ~0xFFFF) | (after & 0xFFFF), after & mask)
        set_code(cpu, selector, d, level)
        cpu.r[SP] = cut
        derive(cpu)
        ret(to)
    pointer = pop_item(cpu, base + (after & mask), osize)
    ss = pop_item(cpu, base + ((after + size) & mask), osize).trunc(16)
    return_outer(cpu, selector, d, ss, pointer + drop)
    return to


@x86.routine(returns=64, selector=16)
def return_checked(cpu: Cpu, selector: Value) -> Value:
    """The descriptor of a code segment that is returned to: its RPL says to which level."""
    with when((selector & NULL) == 0):
        raise_for(cpu, PROTECTION, const(0, 16))
    d = descriptor(cpu, selector, PROTECTION, 0)
    rights, rpl = rights_of(d), (selector & 3).trunc(8)
    dpl, conforms = dpl_of(rights).trunc(8), (rights & CONFORMING) != 0
    code = (rights & (S_BIT | CODE)) == S_BIT | CODE
    both = is_long(cpu) & ((rights & (L_BIT | BIG)) == L_BIT | BIG)
    wrong = select(conforms, rpl.ult(dpl), dpl != rpl) | rpl.ult(cpu.cpl)
    with when(~code | wrong | both):
        raise_for(cpu, PROTECTION, selector)
    with when((rights & PRESENT) == 0):
        raise_for(cpu, NOT_PRESENT, selector)
    return d


@x86.routine(selector=16, d=64, ss=16, pointer=64)
def return_outer(cpu: Cpu, selector: Value, d: Value, ss: Value, pointer: Value) -> None:
    """Set CS, SS and the stack pointer for an outer level, and forget segments that it may not
    have."""
    level = (selector & 3).trunc(8)
    in_64 = is_long(cpu) & ((rights_of(d) & L_BIT) != 0)
    null = (ss & NULL) == 0
    with when(null & ~(in_64 & (level != 3))):
        raise_for(cpu, PROTECTION, const(0, 16))
    stack = cpu.local(const(0, 64))
    with when(~null):
        stack.set(descriptor(cpu, ss, PROTECTION, 0))
        rights = rights_of(stack.value)
        data = (rights & (S_BIT | CODE | WRITABLE)) == S_BIT | WRITABLE
        fits = (dpl_of(rights).trunc(8) == level) & ((ss & 3).trunc(8) == level)
        with when(~data | ~fits):
            raise_for(cpu, PROTECTION, ss)
        with when((rights & PRESENT) == 0):
            raise_for(cpu, STACK, ss)
    set_code(cpu, selector, d, level)
    rights = select(null, const(UNUSABLE, 32) | level.zext(32) << 5, rights_of(stack.value) | 1)
    cpu.selector[SS], cpu.base[SS] = ss, base_of(stack.value)
    cpu.limit[SS], cpu.attributes[SS] = limit_of(stack.value), rights
    mask = stack_width(cpu, rights, in_64)
    cpu.r[SP] = select(mask == 0xFFFF, (cpu.r[SP] & ~0xFFFF) | (pointer & 0xFFFF), pointer & mask)
    forget_segments(cpu, level)
    derive(cpu)


@x86.routine(level=8)
def forget_segments(cpu: Cpu, level: Value) -> None:
    """Data segments that an outer level may not have become null (volume 2, RET)."""
    for seg in (ES, DS, FS, GS):
        rights = cpu.attributes[seg]
        data = ((rights & CODE) == 0) | ((rights & CONFORMING) == 0)
        low = dpl_of(rights).trunc(8).ult(level) & ((rights & UNUSABLE) == 0)
        with when(data & low):
            cpu.selector[seg], cpu.base[seg] = 0, 0
            cpu.limit[seg], cpu.attributes[seg] = 0, UNUSABLE
