"""What a data abort tells of the instruction that made the access (D17.2.37).

The instruction is read again from where it stands, so accesses carry nothing for it. If it cannot
be read any more, nothing is told.
"""

from __future__ import annotations

from ...ir.value import Value, const, select
from ..contract import FETCH, LOAD
from ..trace import Cpu, ret, when
from .mmu import FAULT, LOOK, STAGE_2, STATUS, walk
from .state import a64
from .syndromes import TO_EL2

__all__ = ["CM", "S1PTW", "WRITE", "tell_of_instruction"]

WRITE, S1PTW, CM = 1 << 6, 1 << 7, 1 << 8
AR, SF, SRT, SSE, SAS, ISV = 14, 15, 16, 21, 22, 24  # of the syndrome
EXTERNAL, ALIGNMENT = 0x10, 0x21

# Masks and bits of encodings (C4.1.94).
_ATOMIC = ((0x3B20_0C00, 0x3820_0000), (0x3FA0_7C00, 0x08A0_7C00), (0xBFA0_7C00, 0x0820_7C00))
_PLAIN = ((0x3F00_0000, 0x3900_0000), (0x3F20_0400, 0x3800_0000), (0x3F20_0C00, 0x3820_0800))
_ACQUIRES_PLAIN = ((0x3F20_0C00, 0x1900_0000),)  # LDAPUR, STLUR
_ACQUIRES = ((0x3FFF_FC00, 0x38BF_C000),)  # LDAPR
_ORDERED = ((0x3FA0_0000, 0x0880_0000),)
_LITERAL = ((0x3F00_0000, 0x1800_0000),)


def _is(code: Value, *forms: tuple[int, int]) -> Value:
    found: Value = const(0, 1)
    for mask, bits in forms:
        found = found | ((code & mask) == bits)
    return found


@a64.routine(returns=64, cause=64, va=64)
def tell_of_instruction(cpu: Cpu, cause: Value, va: Value) -> Value:
    """The syndrome of a data abort of the instruction at ``pc``, completed."""
    of_stage_2 = ((cause & TO_EL2) != 0) & ((cause & (S1PTW | CM)) == 0)
    writes = (cause & (WRITE | CM)) == WRITE
    with when(~(of_stage_2 | writes)):
        ret(cause)
    ipa = cpu.fault_ipa  # which walks renew
    page = walk(cpu, cpu.pc, const(FETCH | LOOK, 8), cpu.el)
    place = page & ~0xFFF | cpu.pc & 0xFFC
    with when(((page & FAULT) != 0) | (cpu.host("is_memory", 1, place) == 0)):
        cpu.fault_ipa = ipa
        ret(cause)
    code = cpu.load_physical(place, 32).zext(64)
    told = cpu.local(cause)
    with when(writes & _is(code, *_ATOMIC)), when(_read_faults(cpu, cause, va)):
        told.set(told.value & ~WRITE)
    with when(of_stage_2):
        told.set(told.value | _transfer(code))
    cpu.fault_ipa = ipa
    return told.value


def _read_faults(cpu: Cpu, cause: Value, va: Value) -> Value:
    """Whether a load would have had the fault of an atomic update, which is told as that of a load
    then; alignment is that of both."""
    found, status = walk(cpu, va, const(LOAD | LOOK, 8), cpu.el), cause & 0x3F
    nothing = ((found & FAULT) == 0) & (cpu.host("is_memory", 1, found & ~0xFFF) == 0)
    same: Value = (found.lsr(STATUS) & 0x3F) == status
    same = same & (((found & STAGE_2) != 0) == ((cause & TO_EL2) != 0))
    faults = ((found & FAULT) != 0) & same
    return faults | (status == ALIGNMENT) | nothing & (status == EXTERNAL)


def _transfer(code: Value) -> Value:
    """ISV and what it stands for: of loads and stores of one general-purpose register without
    write-back."""
    size, opc = code.lsr(30), code.lsr(22) & 3
    usual = _is(code, *_PLAIN, *_ACQUIRES_PLAIN)
    literal = _is(code, *_LITERAL)
    valid = usual | literal | _is(code, *_ORDERED, *_ACQUIRES)
    signed = usual & ((opc & 2) != 0) | literal & (size == 2)
    wide = select(usual & signed, opc == 2, select(literal, size != 0, size == 3))
    ordered = _is(code, *_ACQUIRES, *_ACQUIRES_PLAIN) | _is(code, *_ORDERED) & (code[15] == 1)
    bytes_ = select(literal, select(size == 1, const(3, 64), 2), size)
    told = const(1 << ISV, 64) | bytes_ << SAS | (code & 31) << SRT
    for flag, at in ((signed, SSE), (wide, SF), (ordered, AR)):
        told = told | flag.zext(64) << at
    return select(valid, told, const(0, 64))
