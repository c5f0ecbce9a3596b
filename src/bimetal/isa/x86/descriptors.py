"""Segment descriptors (volume 3, 3.4.5 and 5): from tables into segment registers."""

from __future__ import annotations

from ...ir.value import Value, const, select
from ..trace import Cpu, ret, when
from .control import LMA, PE
from .flags import VM
from .modes import derive
from .segments import CODE, L_BIT, PRESENT, S_BIT, UNUSABLE, WRITABLE
from .state import CS, LDTR, SS, x86
from .system_access import system_load, system_store
from .traps import CODE_AT, HAS_CODE, NOT_PRESENT, PROTECTION, STACK

__all__ = [
    "BASE_32",
    "CONFORMING",
    "base_of",
    "descriptor",
    "dpl_of",
    "in_real_mode",
    "in_v86",
    "is_long",
    "kind_of",
    "limit_of",
    "load_segment",
    "raise_for",
    "rights_of",
    "set_real_segment",
    "set_segment",
]  # fmt: skip

CONFORMING = 4
BASE_32 = 0xFFFF_FFFF
BUSY = 2


def in_v86(cpu: Cpu) -> Value:
    """Whether the processor is in virtual-8086 mode."""
    there: Value = (cpu.system_flags & VM) != 0
    return there


def in_real_mode(cpu: Cpu) -> Value:
    """Whether it is in real mode."""
    there: Value = (cpu.cr0 & PE) == 0
    return there


def is_long(cpu: Cpu) -> Value:
    """Whether it is in IA-32e mode: 64-bit or compatibility mode."""
    there: Value = (cpu.efer & LMA) != 0
    return there


def raise_for(cpu: Cpu, vector: Value | int, selector: Value, ext: Value | int = 0) -> None:
    """An exception whose error code is a selector; ``ext`` (one bit) says that an event from
    outside is being delivered."""
    code = selector.zext(64) & 0xFFFC
    number = vector.zext(64) if isinstance(vector, Value) else const(vector, 64)
    outside = ext.zext(64) if isinstance(ext, Value) else const(ext, 64)
    cpu.trap(number | HAS_CODE | (code | outside) << CODE_AT)


# -- parts of a descriptor of eight bytes


def base_of(d: Value) -> Value:
    """Its base, 32 bits of it."""
    return (d.lsr(16) & 0xFF_FFFF) | (d.lsr(56) << 24)


def limit_of(d: Value) -> Value:
    """Its limit in bytes."""
    limit = (d & 0xFFFF) | (d.lsr(32) & 0xF_0000)
    return select(d[55] == 1, limit << 12 | 0xFFF, limit).trunc(32)


def rights_of(d: Value) -> Value:
    """Its access rights, as segment registers have them."""
    return (d.lsr(40) & 0xF0FF).trunc(32)


def dpl_of(rights: Value) -> Value:
    """The privilege level of access rights."""
    return rights.lsr(5) & 3


def kind_of(rights: Value) -> Value:
    """Type and S."""
    return rights & 0x1F


@x86.routine(returns=64, selector=16, vector=8, ext=1)
def descriptor(cpu: Cpu, selector: Value, vector: Value, ext: Value) -> Value:
    """The descriptor of a selector, whose RPL does not matter; the exception ``vector`` if it is
    outside of its table."""
    local = selector[2] == 1
    wide = selector.zext(64)
    limit = select(local, cpu.limit[LDTR].zext(64), cpu.gdtr_limit.zext(64))
    none = local & ((cpu.attributes[LDTR] & UNUSABLE) != 0)
    with when(none | limit.ult(wide | 7)):
        raise_for(cpu, vector, selector, ext)
    base = select(local, cpu.base[LDTR], cpu.gdtr_base)
    return system_load(cpu, base + (wide & 0xFFF8), 64)


@x86.routine(selector=16, d=64)
def mark_accessed(cpu: Cpu, selector: Value, d: Value) -> None:
    """Set the bit of accesses in a descriptor in its table."""
    with when(d[40] == 0):
        base = select(selector[2] == 1, cpu.base[LDTR], cpu.gdtr_base)
        at = base + (selector.zext(64) & 0xFFF8) + 5
        system_store(cpu, at, (d.lsr(40) | 1).trunc(8))


def set_segment(cpu: Cpu, seg: Value | int, selector: Value, d: Value) -> None:
    """Fill a segment register from a descriptor of code or data."""
    cpu.selector[seg] = selector
    cpu.base[seg] = base_of(d)
    cpu.limit[seg] = limit_of(d)
    cpu.attributes[seg] = rights_of(d) | 1


def set_real_segment(cpu: Cpu, seg: Value | int, selector: Value) -> None:
    """Fill a segment register in real mode, which leaves limit and rights, or in virtual-8086
    mode."""
    cpu.selector[seg] = selector
    cpu.base[seg] = selector.zext(64) << 4
    v86 = in_v86(cpu)
    cpu.limit[seg] = select(v86, const(0xFFFF, 32), cpu.limit[seg])
    cpu.attributes[seg] = select(v86, const(0xF3, 32), cpu.attributes[seg] & ~UNUSABLE)


@x86.routine(seg=8, selector=16)
def load_segment(cpu: Cpu, seg: Value, selector: Value) -> None:
    """Load a data or stack segment register, as MOV, POP and LSS do (volume 2, MOV)."""
    with when(in_real_mode(cpu) | in_v86(cpu)):
        set_real_segment(cpu, seg, selector)
        derive(cpu)
        ret()
    rpl, cpl = selector & 3, cpu.cpl.zext(16)
    stack = seg == SS
    with when((selector & 0xFFFC) == 0):
        allowed = (cpu.decoding == 0) & (cpl != 3) & (rpl == cpl)
        with when(stack & ~allowed):
            raise_for(cpu, PROTECTION, const(0, 16))
        cpu.selector[seg], cpu.base[seg], cpu.limit[seg] = selector, 0, 0
        level = select(stack, cpl.zext(32) << 5, 0)
        cpu.attributes[seg] = level | UNUSABLE
        derive(cpu)
        ret()
    d = descriptor(cpu, selector, PROTECTION, 0)
    rights = rights_of(d)
    dpl, code = dpl_of(rights).trunc(16), (rights & CODE) != 0
    usable = ((rights & S_BIT) != 0) & (~code | ((rights & WRITABLE) != 0))
    conforms = code & ((rights & CONFORMING) != 0)
    low = dpl.ult(select(rpl.ult(cpl), cpl, rpl)) & ~conforms
    is_stack = ((rights & S_BIT) != 0) & ~code & ((rights & WRITABLE) != 0)
    bad_stack = ~is_stack | (dpl != cpl) | (rpl != cpl)
    with when(select(stack, bad_stack, ~usable | low)):
        raise_for(cpu, PROTECTION, selector)
    with when((rights & PRESENT) == 0):
        raise_for(cpu, select(stack, const(STACK, 8), NOT_PRESENT), selector)
    mark_accessed(cpu, selector, d)
    set_segment(cpu, seg, selector, d)
    derive(cpu)


del CS, L_BIT
