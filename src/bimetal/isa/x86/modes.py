"""Modes (volume 3, 2.2): what follows from control registers and segments, and the view `rip`."""

from __future__ import annotations

from functools import reduce

from ...ir.value import Value, const, select
from ..trace import Cpu, when
from .control import LMA, LME, PE, PG
from .debug import debug_when_asked
from .fields import FLAT, LONG, SEGMENTED_16, SEGMENTED_32
from .flags import VM
from .segments import BIG, L_BIT, UNUSABLE, WRITABLE, guard_segments
from .state import CS, DS, ES, SS, x86
from .vector_state import check_vectors

__all__ = ["derive"]

EXPANDS_DOWN, CODE, DPL_AT = 4, 8, 5


@x86.routine()
def derive(cpu: Cpu) -> None:
    """Work out privilege level, decode mode and what segments have to look at, once one of the
    segments, CR0, EFER or RFLAGS.VM has changed."""
    rights = cpu.attributes[CS]
    protected, long = (cpu.cr0 & PE) != 0, (cpu.efer & LMA) != 0
    level = (cpu.attributes[SS].lsr(DPL_AT) & 3).trunc(8)
    level = select((cpu.system_flags & VM) != 0, const(3, 8), level)
    cpu.cpl = select(protected, level, const(0, 8))
    of_32 = (rights & BIG) != 0
    segmented = select(of_32, const(SEGMENTED_32, 8), SEGMENTED_16)
    usual = select(of_32 & protected & _flat(cpu), const(FLAT, 8), segmented)
    cpu.decoding = select(long & ((rights & L_BIT) != 0), const(LONG, 8), usual)
    cpu.code_base = select(cpu.decoding == LONG, const(0, 64), cpu.base[CS])
    guard_segments(cpu)
    debug_when_asked(cpu)


def _flat(cpu: Cpu) -> Value:
    """Whether CS, DS, ES and SS are all of memory, and the last three can be written."""
    whole = [
        (cpu.base[seg] == 0) & (cpu.limit[seg] == 0xFFFF_FFFF)
        & ((cpu.attributes[seg] & UNUSABLE) == 0)
        for seg in (ES, CS, SS, DS)
    ]  # fmt: skip
    data = [
        (cpu.attributes[seg] & (CODE | EXPANDS_DOWN | WRITABLE)) == WRITABLE for seg in (ES, SS, DS)
    ]
    big = (cpu.attributes[SS] & BIG) != 0
    flat: Value = reduce(lambda a, b: a & b, [*whole, *data, big])
    return flat


@x86.routine()
def renew(cpu: Cpu) -> None:
    """Derive again, IA-32e mode too, which is active with EFER.LME and CR0.PG."""
    with when((cpu.efer & LME) != 0):
        active = select((cpu.cr0 & PG) != 0, const(LMA, 64), 0)
        cpu.efer = (cpu.efer & ~LMA) | active
    derive(cpu)
    check_vectors(cpu)


def _read_rip(cpu: Cpu) -> Value:
    offset: Value = cpu.pc - cpu.code_base
    return offset


def _write_rip(cpu: Cpu, value: Value) -> None:
    setattr(cpu, "pc", cpu.code_base + value)  # noqa: B010  (of the class it is read-only)


x86.view("rip", 64, _read_rip, _write_rip)
