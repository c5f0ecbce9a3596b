"""Decoded pages: where they are, and when they are decoded anew."""

from __future__ import annotations

from ..ir.value import Value, const
from ..isa.trace import Cpu, ret, when
from .builder import Builder, copy, count, differ, fill, host_load, host_store, state_address
from .layout import (
    DECODED,
    MEMORY_SLOTS,
    NOWHERE,
    PAGE,
    PAGE_COPY,
    PAGE_EPOCH,
    PAGE_HOST,
    PAGE_MODE,
    PAGE_RECORDS,
    PAGE_RUNS,
    PAGE_STORES,
    PAGE_VA,
)

__all__ = ["describe_pages"]


def describe_pages(build: Builder) -> None:
    """Describe the routines that find, decode and forget pages."""
    _finding(build)
    _decoding(build)
    _allocating(build)
    _looking_up(build)


def _finding(build: Builder) -> None:
    @build.routine(returns=64, pa=64)
    def code_slots(cpu: Cpu, pa: Value) -> Value:
        """The host address of a physical page's row in the table of code (`Layout.code_row`); 0 if
        ``pa`` is not in a memory slot."""
        for n in range(MEMORY_SLOTS):
            offset = pa - cpu.slot_base[n]
            with when(offset.ult(cpu.slot_size[n])):
                number = cpu.slot_page[n] + offset.lsr(12)
                ret(cpu.code_table + number * (8 * build.layout.code_row))
        return const(0, 64)


def _decoding(build: Builder) -> None:
    layout = build.layout
    records_bytes = layout.records * layout.record

    @build.routine(page=64)
    def decode_afresh(cpu: Cpu, page: Value) -> None:
        """Copy a page's code from guest memory, blank its records, and add it to the ring of pages
        decoded last."""
        copy(page + PAGE_COPY, host_load(page + PAGE_HOST, 64), PAGE)
        copy(page + PAGE_RECORDS, cpu.blank_records, records_bytes)
        host_store(page + PAGE_RUNS, cpu.code_eager.zext(64))
        host_store(state_address("decoded") + (cpu.decoded_count & DECODED - 1) * 8, page)
        cpu.decoded_count = cpu.decoded_count + 1
        cpu.attend = const(1, 8)
        count(cpu, "pages decoded")


def _allocating(build: Builder) -> None:
    layout, flush_fetch = build.layout, build.routines["flush_fetch"]

    @build.routine()
    def forget_code(cpu: Cpu) -> None:
        """Forget all decoded pages, and all runs: there is no more memory for one of them."""
        if layout.isa.coherent:
            build.routines["empty_table"](cpu)
        else:
            fill(cpu.code_table, 0, cpu.code_table_bytes)
        flush_fetch(cpu)
        cpu.arena_next = cpu.arena_start
        cpu.code_next, cpu.code_end = cpu.code_start, cpu.code_limit
        cpu.code_full = const(0, 32)
        count(cpu, "code arenas emptied")

    @build.routine(returns=64)
    def allocate_page(cpu: Cpu) -> Value:
        """The address for a new decoded page."""
        with when(cpu.arena_end.ult(cpu.arena_next + layout.page_bytes)):
            forget_code(cpu)
        page: Value = cpu.arena_next
        cpu.arena_next = page + layout.page_bytes
        return page


def _looking_up(build: Builder) -> None:
    def may_differ(cpu: Cpu, page: Value) -> Value:
        """Whether a decoded page that is come to has to be compared with memory. Devices store to
        code without a word: always, where stores take effect at once."""
        if build.isa.coherent:
            return const(1, 1)
        older: Value = host_load(page + PAGE_EPOCH, 64) != cpu.code_epoch
        return older

    ram_host, code_slots = build.routines["ram_host"], build.routines["code_slots"]
    decode_afresh, allocate_page = (
        build.routines[name] for name in ("decode_afresh", "allocate_page")
    )
    forget_code = build.routines["forget_code"]

    @build.routine(returns=64, pa=64, mode=8)
    def code_page(cpu: Cpu, pa: Value, mode: Value) -> Value:
        """The address of a physical page's records in a decode mode; 0 if not in a memory slot."""
        with when(cpu.code_full != 0):
            forget_code(cpu)
        row = code_slots(cpu, pa)
        with when(row == 0):
            ret(const(0, 64))
        slot = row + mode.zext(64) * 8
        page = cpu.local(host_load(slot, 64))
        with when(page.value == 0) as fresh:
            page.set(allocate_page(cpu))
            host_store(page.value + PAGE_HOST, ram_host(cpu, pa))
            host_store(page.value + PAGE_MODE, mode)
            host_store(page.value + PAGE_VA, const(NOWHERE, 64))
            host_store(page.value + PAGE_STORES, const(0, 64))
            host_store(page.value + PAGE_EPOCH, cpu.code_epoch)
            host_store(slot, page.value)
            if build.isa.coherent:
                build.routines["begin_code"](cpu, row)
            decode_afresh(cpu, page.value)
            with fresh.otherwise(), when(may_differ(cpu, page.value)):
                source = host_load(page.value + PAGE_HOST, 64)
                host_store(page.value + PAGE_EPOCH, cpu.code_epoch)
                if build.isa.coherent:
                    build.routines["resume_code"](cpu, row, page.value)
                with when(differ(page.value + PAGE_COPY, source, PAGE)):
                    decode_afresh(cpu, page.value)
        return page.value + PAGE_RECORDS
