"""Writes of control registers and EFER (volume 3, 2.5, 4.1.2): what is allowed, what follows."""

from __future__ import annotations

from ...ir.value import Value, select
from ..trace import Cpu, when
from .control import (
    CD,
    ET,
    LA57,
    LMA,
    LME,
    NW,
    NXE,
    PAE,
    PCIDE,
    PE,
    PG,
    PGE,
    PSE,
    SMAP,
    SMEP,
    WP,
)  # fmt: skip
from .identity import SETTABLE
from .models import PHYSICAL_BITS
from .modes import derive
from .segments import L_BIT
from .state import CS, x86
from .traps import general_protection
from .vector_state import check_vectors

__all__ = ["load_directory", "write_cr0", "write_cr3", "write_cr4", "write_efer"]

CR0_BITS = 0xE005_003F
ADDRESS = ((1 << 52) - 1) & ~0xFFF
PHYSICAL = (1 << PHYSICAL_BITS) - 1
TRANSLATES_0 = PG | WP | PE
TRANSLATES_4 = PSE | PAE | PGE | LA57 | SMEP | SMAP | PCIDE


@x86.routine(value=64)
def write_cr0(cpu: Cpu, value: Value) -> None:
    """CR0. Long mode begins and ends with paging."""
    new, old = (value & CR0_BITS) | ET, cpu.cr0
    paging, was = (new & PG) != 0, (old & PG) != 0
    long = (cpu.efer & LME) != 0
    begins, ends = paging & ~was & long, ~paging & was
    code_64 = (cpu.attributes[CS] & L_BIT) != 0
    wrong = (value.lsr(32) != 0) | (paging & ((new & PE) == 0))
    wrong = wrong | (((new & NW) != 0) & ((new & CD) == 0))
    wrong = wrong | (begins & (((cpu.cr4 & PAE) == 0) | code_64))
    wrong = wrong | (ends & (cpu.decoding == 0)) | (ends & ((cpu.cr4 & PCIDE) != 0))
    with when(wrong):
        general_protection(cpu)
    cpu.cr0 = new
    cpu.efer = select(paging & long, cpu.efer | LMA, cpu.efer & ~LMA)
    with when(((new ^ old) & TRANSLATES_0) != 0):
        with when(paging & ~was):
            load_directory(cpu)
        cpu.host("flush", 0)
    derive(cpu)
    check_vectors(cpu)


@x86.routine()
def load_directory(cpu: Cpu) -> None:
    """Load the four entries of the first level of PAE paging (4.4.1)."""
    with when(((cpu.cr0 & PG) != 0) & ((cpu.cr4 & PAE) != 0) & ((cpu.efer & LMA) == 0)):
        table = cpu.cr3 & 0xFFFF_FFE0
        for n in range(4):
            cpu.pdpte[n] = cpu.load_physical(table + 8 * n, 64)


@x86.routine(value=64)
def write_cr3(cpu: Cpu, value: Value) -> None:
    """CR3. Bit 63 says that translations of the new PCID stay."""
    pcids = (cpu.cr4 & PCIDE) != 0
    keeps = pcids & (value[63] == 1)
    kept = value & ~(1 << 63)
    long = (cpu.efer & LMA) != 0
    beyond = select(pcids, kept, value) & ~PHYSICAL
    with when(long & (beyond != 0)):
        general_protection(cpu)
    cpu.cr3 = select(long, kept, value & 0xFFFF_FFFF)
    load_directory(cpu)
    with when(~keeps):
        cpu.host("flush_space", 0, x86.hooks["address_space"](cpu))


@x86.routine(value=64)
def write_cr4(cpu: Cpu, value: Value) -> None:
    """CR4."""
    old = cpu.cr4
    long, changed = (cpu.efer & LMA) != 0, value ^ old
    wrong = (value & ~cpu.settable[SETTABLE.index("cr4")]) != 0
    wrong = wrong | (long & ((value & PAE) == 0)) | (long & ((changed & LA57) != 0))
    begins = ((value & PCIDE) != 0) & ((old & PCIDE) == 0)
    wrong = wrong | (begins & (~long | ((cpu.cr3 & 0xFFF) != 0)))
    with when(wrong):
        general_protection(cpu)
    cpu.cr4 = value
    with when((changed & TRANSLATES_4) != 0):
        load_directory(cpu)
        cpu.host("flush", 0)
    check_vectors(cpu)


@x86.routine(value=64)
def write_efer(cpu: Cpu, value: Value) -> None:
    """EFER. LME cannot change while there is paging."""
    old = cpu.efer
    changes = ((value ^ old) & LME) != 0
    reserved = (value & ~cpu.settable[SETTABLE.index("efer")]) != 0
    with when(reserved | (changes & ((cpu.cr0 & PG) != 0))):
        general_protection(cpu)
    cpu.efer = (value & ~LMA) | (old & LMA)
    with when(((value ^ old) & NXE) != 0):
        cpu.host("flush", 0)
