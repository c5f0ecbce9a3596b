"""Fetches that see stores: what a fence for a line of memory does, and, for ISAs that promise that
stores to code take effect at the next instruction, what each such store does.

A decoded page that may hold other code than memory leaves the fetch TLBs, so that it is compared
with memory before any of it is executed again, and decoded afresh if its code did change. It is in
few of them, and by one address, unless it is mapped in several places.

Where stores take effect at once, a page whose code has been decoded, by any vCPU, is in no store
TLB, so each store to it goes through `locate`. The storing vCPU sees its store at once; the others
when they next come to the page (`other_vcpus`). A page that is stored to some `AT_REST` times
without being executed counts as one of data, until it is executed again: memory that held code may
then hold anything at full speed, and what was decoded serves again if the code comes back.

The table of code tells for each page when it was entered into a store TLB last, by the number of
times that these had been emptied then (`store_epoch`): only if it may still be in one are they
emptied when it becomes code.
"""

from __future__ import annotations

from ..ir.value import Value, const
from ..isa.trace import Cpu, ret, when
from .builder import Builder, differ, exchange, fill, host_load, host_store, state_address
from .layout import (
    AT_REST,
    DATA_ENTRIES,
    EVERYWHERE,
    NEVER,
    NOWHERE,
    PAGE,
    PAGE_COPY,
    PAGE_EPOCH,
    PAGE_HOST,
    PAGE_STORES,
    PAGE_VA,
    SOMEWHERE,
    STORE_TLB,
)  # fmt: skip
from .other_vcpus import describe_other_vcpus, last_entered, locked
from .tlb_pool import leave_fetch_tlbs

__all__ = ["describe_coherence", "describe_fences"]

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
                leave_fetch_tlbs(state_address("tlb"), place - SOMEWHERE)
        host_store(page + PAGE_VA, const(NOWHERE, 64))

    @build.routine(pa=64)
    def fence_physical_line(cpu: Cpu, pa: Value) -> None:
        """Have decoded pages rechecked that hold other code than memory in a line."""
        row, at = build.routines["code_slots"](cpu, pa), pa & (PAGE - 1) & -LINE
        with when(row != 0):
            for mode in range(len(build.isa.modes)):
                page = host_load(row + 8 * mode, 64)
                with when(page != 0):
                    memory = host_load(page + PAGE_HOST, 64) + at
                    with when(differ(page + PAGE_COPY + at, memory, LINE)):
                        recheck(cpu, page)


def describe_coherence(build: Builder) -> None:
    """Describe what `locate` and the routines of decoded pages call."""
    if build.layout.shared:
        describe_other_vcpus(build)
    _emptying(build)
    _storing(build)
    _executing(build)


def _emptying(build: Builder) -> None:
    @build.routine()
    def forget_stores(cpu: Cpu) -> None:
        """Empty the store TLBs: those in use now, the others before they are used again."""
        with locked(build, cpu):
            cpu.store_epoch = cpu.store_epoch + 1
        build.routines["flush_fetch"](cpu)
        for base in (cpu.tlb_base, cpu.user_tlb):
            with when(base != 0):
                fill(base + STORE_TLB, 0xFF, 8 * DATA_ENTRIES)

    @build.routine()
    def empty_table(cpu: Cpu) -> None:
        """Empty the table of code, which also tells what is in store TLBs."""
        with locked(build, cpu):
            fill(cpu.code_table, 0, cpu.code_table_bytes)
        build.routines["forget_stores"](cpu)


def _storing(build: Builder) -> None:
    modes, shared = range(len(build.isa.modes)), build.layout.shared
    code_slots = build.routines["code_slots"]

    @build.routine(returns=1, pa=64)
    def store_to_code(cpu: Cpu, pa: Value) -> Value:
        """Whether a physical page may not be entered into a store TLB, as its code has been decoded
        here or elsewhere; if so, it is compared with memory before more of it is executed.

        A page that is stored to again and again, and not executed, is none of code any more.
        """
        row = code_slots(cpu, pa)
        with when(row == 0):
            ret(const(0, 1))
        found = cpu.local(const(0, 1))
        for mode in modes:
            page = host_load(row + 8 * mode, 64)
            with when(page != 0), locked(build, cpu):
                stores = host_load(page + PAGE_STORES, 64)
                with when(stores.ult(AT_REST)):
                    host_store(page + PAGE_STORES, stores + 1)
                    build.routines["recheck"](cpu, page)
                    found.set(const(1, 1))
        if shared:
            others = build.routines["others_execute"](cpu, const(0, 64), row - cpu.code_table)
            with when(others == 1):
                build.routines["note_store"](cpu, pa)
                found.set(const(1, 1))
        return found.value

    @build.routine(pa=64)
    def about_to_enter(cpu: Cpu, pa: Value) -> None:
        """Note that a page is being entered into a store TLB."""
        row = code_slots(cpu, pa)
        with when(row != 0):
            host_store(last_entered(build, row), cpu.store_epoch + 1)


def _executing(build: Builder) -> None:
    shared, forget_stores = build.layout.shared, build.routines["forget_stores"]

    @build.routine(row=64)
    def begin_code(cpu: Cpu, row: Value) -> None:
        """From here on no store to a page, by its row of the table of code, goes unnoticed."""
        if shared:
            cpu.fence(full=True)
        with when(host_load(last_entered(build, row), 64) == cpu.store_epoch + 1):
            forget_stores(cpu)
        if shared:
            place = row - cpu.code_table
            build.routines["empty_other_stores"](cpu, const(0, 64), place)

    @build.routine(row=64, page=64)
    def resume_code(cpu: Cpu, row: Value, page: Value) -> None:
        """A decoded page is about to be compared with memory, and executed."""
        # An exchange is a full fence too.
        stores = exchange(page + PAGE_STORES, const(0, 64))
        with when(stores.uge(AT_REST)):
            begin_code(cpu, row)
