"""Near jumps (volume 1, 6.3): offsets in the code segment, and linear addresses."""

from __future__ import annotations

from ...ir.value import Value, const, select
from ..trace import Cpu, pin, slowly, when
from .canonical import non_canonical
from .operands import Fields
from .state import CS
from .traps import general_protection

__all__ = ["following", "target_at", "target_by"]


def following(cpu: Cpu, fields: Fields) -> Value:
    """The offset of the next instruction in the code segment."""
    if pin(fields["plain"]):
        return cpu.next_pc
    offset: Value = cpu.next_pc - cpu.base[CS]
    return offset & 0xFFFF_FFFF


def target_by(cpu: Cpu, fields: Fields) -> Value:
    """Where a jump by the instruction's immediate leads, which counts from the next one."""
    away = fields["imm"].sext(64)
    to: Value = cpu.next_pc + away
    if not pin(fields["plain"]):
        cut = select(fields["osize"] == 0, const(0xFFFF, 64), 0xFFFF_FFFF)
        return _within_segment(cpu, (to - cpu.base[CS]) & cut)
    return to if pin(fields["long"]) else to.trunc(32).zext(64)


def target_at(cpu: Cpu, fields: Fields, offset: Value) -> Value:
    """Where a jump to an offset in the code segment leads."""
    if not pin(fields["plain"]):
        return _within_segment(cpu, offset.zext(64))
    if offset.width == 64:
        with slowly(((offset.asr(47) + 1) & -2) != 0), when(non_canonical(cpu, offset)):
            general_protection(cpu)
    return offset.zext(64)


def _within_segment(cpu: Cpu, offset: Value) -> Value:
    with slowly(cpu.limit[CS].zext(64).ult(offset)):
        general_protection(cpu)
    address: Value = cpu.base[CS] + offset
    return address.trunc(32).zext(64)
