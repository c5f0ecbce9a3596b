"""Segments (volume 3, chapter 5): limits and rights of accesses."""

from __future__ import annotations

from ...ir.value import Value, const, select
from ..trace import Cpu, ret, when
from .fields import NO_SEGMENT
from .state import FS, SEGMENTS, SS, x86
from .traps import general_protection, stack_fault

__all__ = ["UNUSABLE", "check_offset", "forbidden", "guard_segments"]

ACCESSED, WRITABLE, EXPANDS_DOWN, CODE, S_BIT, PRESENT = 1, 2, 4, 8, 1 << 4, 1 << 7
L_BIT, BIG, UNUSABLE = 1 << 13, 1 << 14, 1 << 16
WIDEST = 64
"""Bytes of the widest access that is looked at at once."""


@x86.routine(seg=4, offset=64, size=64, writes=8)
def check_offset(cpu: Cpu, seg: Value, offset: Value, size: Value, writes: Value) -> None:
    """Whether bytes of a segment may be accessed; else #SS of the stack and #GP of others."""
    with when((cpu.decoding == 0) | (seg == NO_SEGMENT)):
        ret()
    with when(forbidden(cpu, seg, offset, size, writes)):
        with when(seg == SS):
            stack_fault(cpu)
        general_protection(cpu)


def forbidden(cpu: Cpu, seg: Value, offset: Value, size: Value, writes: Value) -> Value:
    """Whether rights or limit of a segment forbid an access (5.3, 5.5). Of the limit of one that
    expands down it allows what is above."""
    rights, limit = cpu.attributes[seg], cpu.limit[seg].zext(64)
    is_code, last = (rights & CODE) != 0, offset + size - 1
    read_only = select(is_code, const(1, 1), (rights & WRITABLE) == 0)
    unreadable = is_code & ((rights & WRITABLE) == 0)
    wrong = select(writes != 0, read_only, unreadable) & ((cpu.cr0 & 1) != 0)
    top = select((rights & BIG) != 0, const(0xFFFF_FFFF, 64), 0xFFFF)
    outside = select(
        ~is_code & ((rights & EXPANDS_DOWN) != 0),
        ~limit.ult(offset) | top.ult(last),
        limit.ult(last) | last.ult(offset),
    )
    denied: Value = ((rights & UNUSABLE) != 0) | wrong | outside
    return denied


def guard_segments(cpu: Cpu) -> None:
    """Work out up to which offset accesses need no look, from limits and rights."""
    for seg, _ in enumerate(SEGMENTS[: FS + 2]):
        rights, limit = cpu.attributes[seg], cpu.limit[seg].zext(64)
        is_code = (rights & CODE) != 0
        whole = limit == 0xFFFF_FFFF
        below = select(limit.ult(WIDEST), const(0, 64), limit - WIDEST)
        free = select(whole, const(-1, 64), below)
        never = ((rights & UNUSABLE) != 0) | (~is_code & ((rights & EXPANDS_DOWN) != 0))
        readable = ~is_code | ((rights & WRITABLE) != 0)
        writable = ~is_code & ((rights & WRITABLE) != 0)
        real, long = (cpu.cr0 & 1) == 0, cpu.decoding == 0
        for bit, allowed in ((0, readable), (16, writable)):
            free_here = select(~never & (allowed | real), free, 0)
            cpu.guard[seg | bit] = select(long, const(0, 64), ~free_here)
