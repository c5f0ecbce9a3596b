"""Fetches that see stores: what a fence for a line of memory does, and, for ISAs that promise that
stores to code take effect at the next instruction, what each such store does.

A decoded page that may hold other code than memory leaves the fetch TLBs, so that it is compared
with memory before any of it is executed again, and decoded afresh if its code did change. It is in
few of them, and by one address, unless it is mapped in several places.

Where stores take effect at once, a page whose code has been decoded is in no store TLB, so each
store to it goes through `locate`. The storing vCPU sees its store at once; the others see it, as on
all instruction sets, after a fence of their own.
"""

from __future__ import annotations

from ..ir.value import Value, const
from ..isa.trace import Cpu, ret, when
from .builder import Builder, differ, fill, host_load, host_store, state_address
from .layout import (
    DATA_ENTRIES,
    ENTRY,
    FETCH_ENTRIES,
    FETCH_TLB,
    GUARDED_TAG,
    PAGE,
    PAGE_COPY,
    PAGE_EPOCH,
    PAGE_HOST,
    PAGE_VA,
    STORE_TLB,
    TLB_BYTES,
    TLBS,
)  # fmt: skip

__all__ = ["NOWHERE", "describe_coherence", "describe_fences"]

NEVER = -1
NOWHERE, EVERYWHERE, SOMEWHERE = 0, 2, 1
"""Values of `PAGE_VA`: in no fetch TLB; by several addresses; with an address, by that one."""

LINE = 64
"""Bytes of memory that ``fence_line`` is about."""


def describe_fences(build: Builder) -> None:
    """Describe the routines by which a page is noted in fetch TLBs and taken out of them."""
    flush_fetch = build.routines["flush_fetch"]

    @build.routine(page=64, va=64)
    def note_place(cpu: Cpu, page: Value, va: Value) -> None:
        """Note that a decoded page is entered into a fetch TLB by an address."""
        before = host_load(page + PAGE_VA, 64)
        with when(before != va + SOMEWHERE), when(before == NOWHERE) as new:
            host_store(page + PAGE_VA, va + SOMEWHERE)
            with new.otherwise():
                host_store(page + PAGE_VA, const(EVERYWHERE, 64))

    @build.routine(page=64)
    def recheck(cpu: Cpu, page: Value) -> None:
        """Have a decoded page compared with memory before more of it is executed."""
        host_store(page + PAGE_EPOCH, const(NEVER, 64))
        place = host_load(page + PAGE_VA, 64)
        with when(place == EVERYWHERE) as everywhere:
            flush_fetch(cpu)
            with everywhere.otherwise():
                va = place - SOMEWHERE
                row = FETCH_TLB + (va.lsr(12) & (FETCH_ENTRIES - 1)) * ENTRY
                for number in range(TLBS):
                    entry = state_address("tlb") + number * TLB_BYTES + row
                    with when((host_load(entry, 64) & ~GUARDED_TAG) == va):
                        host_store(entry, const(-1, 64))
        host_store(page + PAGE_VA, const(NOWHERE, 64))

    @build.routine(pa=64)
    def fence_physical_line(cpu: Cpu, pa: Value) -> None:
        """Have decoded pages rechecked that hold other code than memory in a line."""
        first, at = build.routines["code_slots"](cpu, pa), pa & (PAGE - 1) & -LINE
        with when(first != 0):
            for mode in range(len(build.isa.modes)):
                page = host_load(first + 8 * mode, 64)
                with when(page != 0):
                    memory = host_load(page + PAGE_HOST, 64) + at
                    with when(differ(page + PAGE_COPY + at, memory, LINE)):
                        recheck(cpu, page)


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
                build.routines["recheck"](cpu, page)
                found.set(const(1, 1))
        return found.value
