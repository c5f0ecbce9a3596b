"""Far transfers (volume 3, 5.8): jumps, calls and returns between code segments and levels.

The routines return the linear address at which execution goes on. What they push and pop is cut to
the size of the operand, 16 << ``osize`` bits.
"""

from __future__ import annotations

from ...ir.value import Value, const, select
from ..trace import Cpu, ret, when
from .canonical import non_canonical
from .descriptors import (
    BASE_32,
    CONFORMING,
    base_of,
    descriptor,
    dpl_of,
    in_real_mode,
    in_v86,
    is_long,
    limit_of,
    mark_accessed,
    raise_for,
    rights_of,
    set_segment,
)  # fmt: skip
from .fields import SP
from .inner_stacks import inner_selector, inner_stack, set_inner, stack_checked
from .modes import derive
from .segments import BIG, CODE, L_BIT, PRESENT, S_BIT
from .state import CS, SS, x86
from .system_access import system_store
from .tasks import CALL, JUMP, switch_task
from .traps import NOT_PRESENT, PROTECTION

__all__ = [
    "Frame", "code_address", "code_checked", "enter_real", "far_call", "far_jump", "pop_item",
    "set_code", "stack_width",
]  # fmt: skip

GATE_16, TASK_GATE, GATE_32 = 4, 5, 12
TSS_16, TSS_32 = 1, 9
NULL = 0xFFFC


def stack_width(cpu: Cpu, rights: Value, long: Value) -> Value:
    """A mask of stack pointers in a stack segment with these rights."""
    big = select((rights & BIG) != 0, const(0xFFFF_FFFF, 64), 0xFFFF)
    return select(long, const(-1, 64), big)


class Frame:
    """Items that are pushed below a stack pointer, in a segment that need not be SS yet."""

    def __init__(
        self, cpu: Cpu, base: Value, pointer: Value, mask: Value, osize: Value, user: Value
    ):
        self.cpu, self.base, self.mask, self.osize, self.user = cpu, base, mask, osize, user
        self.pointer, self._size = pointer, const(2, 64) << osize.zext(64)

    def push(self, value: Value) -> None:
        """Push an item of the operand's size."""
        self.pointer = self.pointer - self._size
        at = self.base + (self.pointer & self.mask)
        push_item(self.cpu, at, value.zext(64), self.osize.zext(8), self.user)

    @property
    def merged(self) -> Value:
        """The stack pointer, of which a narrow one leaves the upper part."""
        old: Value = self.cpu.r[SP]
        return select(self.mask == 0xFFFF, (old & ~0xFFFF) | (self.pointer & 0xFFFF),
                      self.pointer & self.mask)  # fmt: skip


@x86.routine(va=64, value=64, osize=8, user=1)
def push_item(cpu: Cpu, va: Value, value: Value, osize: Value, user: Value) -> None:
    """Store an item of 16 << ``osize`` bits."""
    for number, width in enumerate((16, 32, 64)):
        with when(osize == number):
            at = va if width == 64 else select(cpu.decoding == 0, va, va & BASE_32)
            system_store(cpu, at, value.trunc(width), user)


@x86.routine(returns=64, va=64, osize=8)
def pop_item(cpu: Cpu, va: Value, osize: Value) -> Value:
    """Load an item of 16 << ``osize`` bits, with the rights of now."""
    with when(osize == 2):
        ret(cpu.load(va, 64))
    at = select(cpu.decoding == 0, va, va & BASE_32)
    with when(osize == 1):
        ret(cpu.load(at, 32).zext(64))
    return cpu.load(at, 16).zext(64)


# -- code segments


@x86.routine(returns=64, selector=16, level=8, ext=1)
def code_checked(cpu: Cpu, selector: Value, level: Value, ext: Value) -> Value:
    """The descriptor of a code segment that may be entered directly from a privilege level, by a
    jump or call; ``level`` is that of now. Exceptions as for JMP (volume 2)."""
    with when((selector & NULL) == 0):
        raise_for(cpu, PROTECTION, const(0, 16), ext)
    d = descriptor(cpu, selector, PROTECTION, ext)
    rights = rights_of(d)
    dpl, rpl, cpl = dpl_of(rights).trunc(8), (selector & 3).trunc(8), level
    conforms = (rights & CONFORMING) != 0
    code = (rights & (S_BIT | CODE)) == S_BIT | CODE
    both = is_long(cpu) & ((rights & (L_BIT | BIG)) == L_BIT | BIG)
    wrong = select(conforms, cpl.ult(dpl), cpl.ult(rpl) | (dpl != cpl))
    with when(~code | wrong | both):
        raise_for(cpu, PROTECTION, selector, ext)
    with when((rights & PRESENT) == 0):
        raise_for(cpu, NOT_PRESENT, selector, ext)
    return d


@x86.routine(returns=64, d=64, offset=64)
def code_address(cpu: Cpu, d: Value, offset: Value) -> Value:
    """The linear address of an offset in a code segment; #GP if it is outside."""
    long = is_long(cpu) & ((rights_of(d) & L_BIT) != 0)
    wrong = select(
        long, non_canonical(cpu, offset), limit_of(d).zext(64).ult(offset)
    )  # fmt: skip
    with when(wrong):
        raise_for(cpu, PROTECTION, const(0, 16))
    return select(long, offset, (base_of(d) + offset) & BASE_32)


def set_code(cpu: Cpu, selector: Value, d: Value, level: Value) -> None:
    """Fill CS; the selector's RPL becomes the privilege level."""
    mark_accessed(cpu, selector, d)
    set_segment(cpu, CS, (selector & NULL) | level.zext(16), d)


@x86.routine(returns=64, selector=16, offset=64)
def enter_real(cpu: Cpu, selector: Value, offset: Value) -> Value:
    """Continue in real or virtual-8086 mode."""
    with when(cpu.limit[CS].zext(64).ult(offset)):
        raise_for(cpu, PROTECTION, const(0, 16))
    cpu.selector[CS], base = selector, selector.zext(64) << 4
    cpu.base[CS] = base
    # A jump far in real mode keeps the limit, and makes the segment what it usually is.
    derive(cpu)
    return base + offset


# -- jumps


@x86.routine(returns=64, selector=16, offset=64, osize=8, following=64)
def far_jump(cpu: Cpu, selector: Value, offset: Value, osize: Value, following: Value) -> Value:
    """JMP ptr16:n; through call and task gates too. ``following`` is the next instruction's
    offset."""
    with when(in_real_mode(cpu) | in_v86(cpu)):
        ret(enter_real(cpu, selector, offset))
    with when((selector & NULL) == 0):
        raise_for(cpu, PROTECTION, const(0, 16))
    d = descriptor(cpu, selector, PROTECTION, 0)
    with when((rights_of(d) & S_BIT) == 0):
        ret(gate_jump(cpu, selector, d, following))
    d = code_checked(cpu, selector, cpu.cpl, 0)
    to = code_address(cpu, d, offset)
    set_code(cpu, selector, d, cpu.cpl)
    derive(cpu)
    return to


def _check_gate(cpu: Cpu, selector: Value, d: Value) -> None:
    """The kind and the rights of a gate, a TSS too: #GP and #NP."""
    rights = rights_of(d)
    kind = rights & 15
    with when(~(_is_gate(cpu, kind) | _is_task(cpu, kind))):
        raise_for(cpu, PROTECTION, selector)
    dpl = dpl_of(rights).trunc(8)
    with when(dpl.ult(cpu.cpl) | dpl.ult((selector & 3).trunc(8))):
        raise_for(cpu, PROTECTION, selector)
    with when((rights & PRESENT) == 0):
        raise_for(cpu, NOT_PRESENT, selector)


def _is_gate(cpu: Cpu, kind: Value) -> Value:
    return (kind == GATE_32) | ((kind == GATE_16) & ~is_long(cpu))


def _is_task(cpu: Cpu, kind: Value) -> Value:
    """A task gate, or an available TSS."""
    there = (kind == TASK_GATE) | (kind == TSS_16) | (kind == TSS_32)
    return there & ~is_long(cpu)


def _task_selector(selector: Value, d: Value) -> Value:
    """The TSS that a task gate, or a TSS's descriptor, leads to."""
    gate = (rights_of(d) & 15) == TASK_GATE
    return select(gate, d[31:16], selector)


def _gate_offset(cpu: Cpu, selector: Value, d: Value) -> Value:
    """The offset in a call gate, which has 64 bits in IA-32e mode."""
    low = d & 0xFFFF
    half = select((rights_of(d) & 15) == GATE_32, low | d.lsr(32) & 0xFFFF_0000, low)
    offset = cpu.local(half)
    with when(is_long(cpu)):
        upper = descriptor(cpu, selector + 8, PROTECTION, 0)
        with when((upper.lsr(40) & 0x1F) != 0):
            raise_for(cpu, PROTECTION, selector)
        offset.set(half | upper << 32)
    return offset.value


@x86.routine(returns=64, selector=16, d=64, following=64)
def gate_jump(cpu: Cpu, selector: Value, d: Value, following: Value) -> Value:
    """Jump through a gate, or to another task."""
    kind = rights_of(d) & 15
    _check_gate(cpu, selector, d)
    with when(_is_task(cpu, kind)):
        ret(switch_task(cpu, _task_selector(selector, d), JUMP, following, 0, 0))
    target = d[31:16]
    code = code_checked(cpu, target & NULL, cpu.cpl, 0)
    to = code_address(cpu, code, _gate_offset(cpu, selector, d))
    set_code(cpu, target, code, cpu.cpl)
    derive(cpu)
    return to


# -- calls


@x86.routine(returns=64, selector=16, offset=64, osize=8, following=64)
def far_call(cpu: Cpu, selector: Value, offset: Value, osize: Value, following: Value) -> Value:
    """CALL ptr16:n; ``following`` is the offset of the next instruction."""
    frame = _own_frame(cpu, osize)
    with when(in_real_mode(cpu) | in_v86(cpu)):
        frame.push(cpu.selector[CS])
        frame.push(following)
        to = enter_real(cpu, selector, offset)
        cpu.r[SP] = frame.merged
        ret(to)
    with when((selector & NULL) == 0):
        raise_for(cpu, PROTECTION, const(0, 16))
    d = descriptor(cpu, selector, PROTECTION, 0)
    with when((rights_of(d) & S_BIT) == 0):
        ret(gate_call(cpu, selector, d, following))
    d = code_checked(cpu, selector, cpu.cpl, 0)
    to = code_address(cpu, d, offset)
    _call_here(cpu, selector, d, osize, following)
    return to


def _call_here(cpu: Cpu, selector: Value, d: Value, osize: Value, following: Value) -> None:
    """Push where to return to, and enter code of the current level."""
    frame = _own_frame(cpu, osize)
    frame.push(cpu.selector[CS])
    frame.push(following)
    set_code(cpu, selector, d, cpu.cpl)
    cpu.r[SP] = frame.merged
    derive(cpu)


def _own_frame(cpu: Cpu, osize: Value) -> Frame:
    """The stack of now."""
    long = cpu.decoding == 0
    mask = stack_width(cpu, cpu.attributes[SS], long)
    base = select(long, const(0, 64), cpu.base[SS])
    return Frame(cpu, base, cpu.r[SP], mask, osize, cpu.cpl == 3)


@x86.routine(returns=64, selector=16, d=64, following=64)
def gate_call(cpu: Cpu, selector: Value, d: Value, following: Value) -> Value:
    """Call through a gate, or to another task."""
    kind = rights_of(d) & 15
    _check_gate(cpu, selector, d)
    with when(_is_task(cpu, kind)):
        ret(switch_task(cpu, _task_selector(selector, d), CALL, following, 0, 0))
    target = d[31:16]
    with when((target & NULL) == 0):
        raise_for(cpu, PROTECTION, const(0, 16))
    code = descriptor(cpu, target, PROTECTION, 0)
    rights = rights_of(code)
    dpl, long = dpl_of(rights).trunc(8), is_long(cpu)
    is_code = (rights & (S_BIT | CODE)) == S_BIT | CODE
    in_64 = ~long | ((rights & (L_BIT | BIG)) == L_BIT)
    with when(~is_code | cpu.cpl.ult(dpl) | ~in_64):
        raise_for(cpu, PROTECTION, target)
    with when((rights & PRESENT) == 0):
        raise_for(cpu, NOT_PRESENT, target)
    to = code_address(cpu, code, _gate_offset(cpu, selector, d))
    osize = select(long, const(2, 8), select(kind == GATE_32, const(1, 8), 0))
    inner = ((rights & CONFORMING) == 0) & dpl.ult(cpu.cpl)
    with when(inner):
        ret(call_inner(cpu, target, code, to, following, osize, (d.lsr(32) & 31).trunc(8)))
    _call_here(cpu, target, code, osize, following)
    return to


@x86.routine(returns=64, target=16, code=64, to=64, following=64, osize=8, count=8)
def call_inner(
    cpu: Cpu, target: Value, code: Value, to: Value, following: Value, osize: Value, count: Value
) -> Value:
    """Through a call gate to an inner level: with its stack and copies of ``count`` parameters."""
    level, long = dpl_of(rights_of(code)).trunc(8), is_long(cpu)
    pointer = inner_stack(cpu, level, 0)
    ss = inner_selector(cpu, level, 0)
    stack = stack_checked(cpu, ss, level, 0)
    mask = stack_width(cpu, rights_of(stack), long)
    base = select(long, const(0, 64), base_of(stack))
    frame = Frame(cpu, base, pointer, mask, osize, const(0, 1))
    old_mask = stack_width(cpu, cpu.attributes[SS], cpu.decoding == 0)
    frame.push(cpu.selector[SS])
    frame.push(cpu.r[SP])
    size = const(2, 64) << osize.zext(64)
    top = cpu.local(frame.pointer)
    for number in range(30, -1, -1):
        with when(~long & const(number, 8).ult(count)):
            from_ = cpu.base[SS] + ((cpu.r[SP] + size * number) & old_mask)
            item = pop_item(cpu, from_, osize)
            top.set(top.value - size)
            push_item(cpu, base + (top.value & mask), item, osize, 0)
    frame.pointer = top.value
    frame.push(cpu.selector[CS])
    frame.push(following)
    set_inner(cpu, ss, stack, level)
    set_code(cpu, target, code, level)
    cpu.r[SP] = frame.pointer & mask
    derive(cpu)
    return to
