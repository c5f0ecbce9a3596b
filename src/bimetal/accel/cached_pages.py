"""Address translation by the TLB of a vCPU that is not running."""

from __future__ import annotations

from ..codegen.layout import ADDENDS, LOAD_TLB, MEMORY_SLOTS, PAGE, ROW_FACTOR, ROW_SHIFT
from ..codegen.tlb_pool import NO_CONTEXT
from .vcpu_state import VcpuState

__all__ = ["cached_place"]

_WORD = (1 << 64) - 1


def cached_place(state: VcpuState, address: int) -> int | None:
    """The guest-physical address for loads from virtual ``address`` in the vCPU's current mode;
    None if it is not in the TLB, or a flush is pending.

    Walking the tables in Python takes a millisecond, which programs that print through semihosting
    would otherwise pay for each letter.
    """
    told = state.get("box_posted") != state.get("box_taken")
    if told or state.get("flush_wanted") or state.get("tlb_context") == NO_CONTEXT:
        return None
    page = address & _WORD & -PAGE
    row = (page * ROW_FACTOR & 0xFFFF_FFFF) >> ROW_SHIFT
    tag = state.get("tlb_base") - state.address + LOAD_TLB + 8 * row
    if state.words[tag // 8] != page:
        return None
    host = (page + state.words[(tag + ADDENDS) // 8]) & _WORD
    for slot in range(MEMORY_SLOTS):
        distance = host - state.get("slot_host", slot)
        if 0 <= distance < state.get("slot_size", slot):
            return state.get("slot_base", slot) + distance + address % PAGE
    return None
