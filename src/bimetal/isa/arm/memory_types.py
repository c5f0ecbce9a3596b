"""Memory types (D8.6): of stage 1 by MAIR_ELx, combined with those of stage 2 where there are two.

A type is a byte as in MAIR_ELx and PAR_EL1. FEAT_S2FWB is absent, so of two stages the one that
caches less rules. Where the manual leaves it open: reserved types of stage 2 cache as much as
stage 1 has it.
"""

from __future__ import annotations

from ...ir.value import Value, const, select
from ..trace import Cpu
from .hosts import ruled_by_el2, ruling_level
from .mmu import ATTRIBUTES, SHAREABILITY, M
from .spaces import DC, VM
from .state import a64
from .syndromes import EL1, TGE

__all__ = ["is_device", "type_and_sharing"]

CACHED, NON_CACHEABLE = 0xFF, 0x4
INNER, OUTER = 3, 2  # shareability


def _two_stages(cpu: Cpu, level: Value) -> Value:
    """Whether the stage 2 that `walk` has gone through counts for an exception level."""
    counts: Value = ~ruled_by_el2(cpu, level) & ((cpu.hcr & (VM | DC)) != 0)
    return counts


def _of_stage_1(cpu: Cpu, found: Value, at: Value) -> Value:
    """The type that MAIR_ELx has for what a walk has found."""
    attributes: Value = cpu.mair_el[at].lsr((found.lsr(ATTRIBUTES) & 7) << 3) & 0xFF
    return attributes


def is_device(cpu: Cpu, found: Value, level: Value) -> Value:
    """Whether `walk` has just found a page of the type Device, by either stage (D17.2.97). With
    stage 1 off all memory has this type, but misaligned accesses to it are allowed."""
    at = ruling_level(cpu, level)
    on, attributes = (cpu.sctlr_el[at] & M) != 0, _of_stage_1(cpu, found, at)
    of_stage_2 = _two_stages(cpu, level) & ((cpu.memory_of_stage_2 & 0xC) == 0)
    device: Value = on & (((attributes & 0xF0) == 0) | of_stage_2)
    return device


@a64.routine(returns=64, found=64, el=8, both=8)
def type_and_sharing(cpu: Cpu, found: Value, el: Value, both: Value) -> Value:
    """The type and, above it, the shareability of what `walk` has just found; with ``both``, stage
    2 counts."""
    at = ruling_level(cpu, el)
    attributes = _of_stage_1(cpu, found, at)
    share = found.lsr(SHAREABILITY) & 3
    cached = (at == EL1) & ((cpu.hcr & DC) != 0)
    off = ((cpu.sctlr_el[at] & M) == 0) | cached | (at == EL1) & ((cpu.hcr & TGE) != 0)
    attributes = select(off, select(cached, const(CACHED, 64), 0), attributes)
    share = select(off, const(0, 64), share)
    second = cpu.memory_of_stage_2
    two = (both == 1) & _two_stages(cpu, el)
    attributes = select(two, _combined(attributes, second & 15), attributes)
    share = select(two, _shared(share, second.lsr(4) & 3), share)
    # Of what is not cached all take part.
    everybody = ((attributes & 0xF0) == 0) | (attributes == NON_CACHEABLE * 0x11)
    return attributes | select(everybody, const(OUTER, 64), share) << 8


def _combined(first: Value, second: Value) -> Value:
    """The type of both stages (D8.6.5): Device if one is, the stricter one of two."""
    one, other = (first & 0xF0) == 0, (second & 0xC) == 0
    of_second = second << 2
    stricter = select(first.ult(of_second), first, of_second)
    device = select(one & other, stricter, select(one, first, of_second))
    outer = _cacheability(first.lsr(4), second.lsr(2))
    inner = _cacheability(first & 15, second & 3)
    return select(one | other, device, outer << 4 | inner)


def _cacheability(first: Value, second: Value) -> Value:
    """Half of a type of normal memory: not cached, write-through, write-back, by the one that is
    less. Hints are those of stage 1 (D8.6.5.1)."""
    none = (first == NON_CACHEABLE) | (second == 1)
    writes_back = (first & 4) != 0
    # Write-through is 10 where it is not transient, and write-back 11; 00 and 01 where it is.
    through = select((second == 2) & writes_back, first & ~4, first)
    return select(none, const(NON_CACHEABLE, 64), through)


def _shared(first: Value, second: Value) -> Value:
    """Shareability of both stages: of those who take part by either."""
    outer = (first == OUTER) | (second == OUTER)
    inner = (first == INNER) | (second == INNER)
    return select(outer, const(OUTER, 64), select(inner, const(INNER, 64), 0))
