"""Stores to code that take effect at the next instruction, for ISAs that promise this.

A page whose code has been decoded is in no store TLB, so each store to it goes through `locate`,
which makes the page be compared with memory before any of it is executed again. The cost is a TLB
miss and a comparison, and decoding the page again if its code did change. The storing vCPU sees its
store at once; the others see it, as on all instruction sets, after a fence of their own.
"""

from __future__ import annotations

from ..ir.value import Value, const
from ..isa.trace import Cpu, ret, when
from .builder import Builder, fill, host_load, host_store
from .layout import DATA_ENTRIES, PAGE_EPOCH, STORE_TLB

__all__ = ["describe_coherence"]

NEVER = -1


def describe_coherence(build: Builder) -> None:
    """Describe the routines that `locate` and `code_page` call."""

    @build.routine()
    def forget_stores(cpu: Cpu) -> None:
        """Empty the store TLBs: those in use now, the others before they are used again. A page
        that may be in them holds code from now on."""
        build.routines["flush_fetch"](cpu)
        for base in (cpu.tlb_base, cpu.user_tlb):
            with when(base != 0):
                fill(base + STORE_TLB, 0xFF, 8 * DATA_ENTRIES)

    @build.routine(returns=1, pa=64)
    def store_to_code(cpu: Cpu, pa: Value) -> Value:
        """Whether code of a physical page has been decoded; if so, the page is compared with memory
        before more of it is executed."""
        slots = build.routines["code_slots"](cpu, pa)
        with when(slots == 0):
            ret(const(0, 1))
        found = cpu.local(const(0, 1))
        for mode in range(len(build.isa.modes)):
            page = host_load(slots + 8 * mode, 64)
            with when(page != 0):
                host_store(page + PAGE_EPOCH, const(NEVER, 64))
                found.set(const(1, 1))
        with when(found.value == 1):
            build.routines["flush_fetch"](cpu)
        return found.value
