"""What native code does between instructions: memory, TLBs, decoded pages, devices.

These routines are written like descriptions, with the additional operations of `builder`. The ISA
contributes `translate`, `take_trap` and its other hooks; nothing here depends on which one it is.

Conventions: ``va`` is a virtual and ``pa`` a physical address; ``access`` is one of LOAD, STORE and
FETCH with its modifiers (see `isa.contract`); sizes are in bytes.
"""

from __future__ import annotations

from ..ir.value import Value, const, select
from ..isa.contract import FETCH, GUARDED, LOAD, PART, STORE, UNPRIVILEGED, UNREADABLE, UPDATE
from ..isa.trace import Cpu, Routine, ret, when
from .asking import describe_asking, return_answer
from .builder import Builder, count, host_load, host_store
from .coherence import describe_coherence, describe_fences
from .layout import (
    ADDENDS,
    FETCH_TLB,
    GUARDED_TAG,
    MEMORY_SLOTS,
    PAGE,
    PAGE_RECORDS,
    Layout,
)  # fmt: skip
from .messages import describe_messages
from .pages import describe_pages
from .polling import describe_polling, describe_sampling
from .single import describe_single
from .tlb_pool import data_tag, describe_tlbs, fetch_row, is_own

__all__ = ["runtime"]

OFFSET = PAGE - 1


def runtime(layout: Layout) -> dict[str, Routine]:
    """Every routine of the engine for one ISA, the ISA's own included, by name."""
    build = Builder(layout)
    describe_tlbs(build)
    describe_messages(build)
    _finding(build)
    _locating(build)
    _host_memory(build)
    _in_a_page(build)
    _any_size(build)
    _aligned(build)
    describe_asking(build)
    describe_pages(build)
    _fetching(build)
    describe_fences(build)
    if build.isa.coherent:
        describe_coherence(build)
    describe_single(build)
    describe_sampling(build)
    describe_polling(build)
    return build.routines


def _finding(build: Builder) -> None:
    @build.routine(returns=64, pa=64)
    def ram_host(cpu: Cpu, pa: Value) -> Value:
        """The host address of a physical address in a memory slot, or 0."""
        for n in range(MEMORY_SLOTS):
            offset = pa - cpu.slot_base[n]
            with when(offset.ult(cpu.slot_size[n])):
                ret(offset + cpu.slot_host[n])
        return const(0, 64)

    @build.routine(returns=64, pa=64)
    def ram_host_writable(cpu: Cpu, pa: Value) -> Value:
        """Like `ram_host`, but also 0 in a read-only slot."""
        for n in range(MEMORY_SLOTS):
            offset = pa - cpu.slot_base[n]
            with when(offset.ult(cpu.slot_size[n])):
                ret(select(cpu.slot_readonly[n] == 0, offset + cpu.slot_host[n], 0))
        return const(0, 64)

    @build.routine(returns=64, pa=64, size=64, access=8)
    def physical_host(cpu: Cpu, pa: Value, size: Value, access: Value) -> Value:
        """The host address of aligned guest-physical memory, or an access fault."""
        host = cpu.local(ram_host(cpu, pa))
        with when(access == STORE):
            host.set(ram_host_writable(cpu, pa))
        with when((host.value == 0) | ((pa & (size - 1)) != 0)):
            build.hooks.access_fault(cpu, access, pa)
        return host.value

    @build.routine(returns=1, pa=64)
    def is_memory(cpu: Cpu, pa: Value) -> Value:
        """Whether a physical address is in a memory slot, possibly a read-only one."""
        return ram_host(cpu, pa) != 0

    @build.routine(returns=1, pa=64)
    def is_ram(cpu: Cpu, pa: Value) -> Value:
        """Whether a physical address is in a writable memory slot."""
        return ram_host_writable(cpu, pa) != 0

    @build.routine(returns=64)
    def instret(cpu: Cpu) -> Value:
        """Instructions retired since reset."""
        retired: Value = cpu.poll_at - cpu.budget
        return retired

    may_hold = build.routines["may_hold"]

    @build.routine(va=64, permissions=64, host=64, access=8)
    def fill_data(cpu: Cpu, va: Value, permissions: Value, host: Value, access: Value) -> None:
        """Enter a translation to the host page at ``host`` into the data TLB of the access."""
        count(cpu, "data TLB misses")
        number = select(is_own(access), cpu.tlb_number, cpu.user_number)
        with when(may_hold(cpu, number, va, permissions) == 1):
            page, tag = va & ~OFFSET, data_tag(cpu, va, access)
            host_store(tag, page)
            host_store(tag + ADDENDS, host - page)


def _locating(build: Builder) -> None:
    translate = build.hooks.translate
    ram_host, writable = build.routines["ram_host"], build.routines["ram_host_writable"]
    fill_data = build.routines["fill_data"]

    @build.routine(returns=64, va=64, size=64, access=8, value=64)
    def device_access(cpu: Cpu, va: Value, size: Value, access: Value, value: Value) -> Value:
        """Leave native code to ask the board about the physical address in leave_args[0], or use
        the answer that it has already given to this instruction; a trap if nothing is there."""
        if build.hooks.fault_in_delivery is not None:
            with when(cpu.delivering != 0):
                build.hooks.access_fault(cpu, access, va)
        if build.hooks.unaligned is not None:
            with when((va & (size - 1)) != 0):
                build.hooks.misaligned(cpu, access, va)
        return_answer(cpu, lambda: build.hooks.access_fault(cpu, access, va))
        cpu.leave("mmio", cpu.leave_args[0], size, access[0].zext(64), value)
        return const(0, 64)

    @build.routine(returns=64, va=64, access=8)
    def locate(cpu: Cpu, va: Value, access: Value) -> Value:
        """The host address of the byte at ``va``, whose page is then in the TLB; if it is not in
        RAM, 0, with its physical address in leave_args[0]."""
        tag = data_tag(cpu, va, access)
        with when(host_load(tag, 64) == va & ~OFFSET):  # another part of the instruction's access
            ret(va + host_load(tag + ADDENDS, 64))
        permissions = translate(cpu, va, access)
        page = permissions & ~OFFSET
        offset = va & OFFSET
        found = cpu.local(ram_host(cpu, page))
        with when(access[0] == STORE):
            found.set(writable(cpu, page))
        host = found.value
        with when(host == 0):
            cpu.leave_args[0] = page | offset
            ret(const(0, 64))
        if build.isa.coherent:
            to_code = build.routines["store_to_code"]
            with when(access[0] == STORE), when(to_code(cpu, page) == 1):
                ret(host + offset)
        if (watched := build.hooks.watched) is not None:
            with when(cpu.debugging != 0), when(watched(cpu, va) == 1):
                ret(host + offset)
        with when((permissions & UNREADABLE) != 0):
            ret(host + offset)
        if build.isa.coherent:
            with when(access[0] == STORE):
                build.routines["about_to_enter"](cpu, page)
        fill_data(cpu, va, permissions, host, access)
        if build.layout.tells_of_stores:
            with when(access[0] == STORE), when(build.routines["may_stay"](cpu, page) == 0):
                host_store(tag, const(-1, 64))
                build.routines["note_store"](cpu, page)
        return host + offset


def _host_memory(build: Builder) -> None:
    @build.routine(returns=64, address=64, size=64)
    def host_read(cpu: Cpu, address: Value, size: Value) -> Value:
        """Load 1, 2, 4 or 8 bytes at a host address."""
        for width in (8, 16, 32):
            with when(size == width // 8):
                ret(host_load(address, width).zext(64))
        return host_load(address, 64)

    @build.routine(address=64, value=64, size=64)
    def host_write(cpu: Cpu, address: Value, value: Value, size: Value) -> None:
        """Store 1, 2, 4 or 8 bytes at a host address."""
        for width in (8, 16, 32):
            with when(size == width // 8):
                host_store(address, value.trunc(width))
                ret()
        host_store(address, value)


def _watch(build: Builder, cpu: Cpu, va: Value, size: Value, access: Value) -> None:
    """Call the hook ``watch`` about an access, while anything is watched."""
    if (watch := build.hooks.watch) is not None:
        with when(cpu.debugging != 0):
            watch(cpu, va, size, access)


def _in_a_page(build: Builder) -> None:
    locate, device_access = build.routines["locate"], build.routines["device_access"]
    host_read, host_write = build.routines["host_read"], build.routines["host_write"]

    @build.routine(returns=64, va=64, size=64, access=8)
    def read_one(cpu: Cpu, va: Value, size: Value, access: Value) -> Value:
        """Load within one page, from RAM or a device."""
        kind = access & ~PART
        host = locate(cpu, va, kind)
        _watch(build, cpu, va, size, access)
        with when(host == 0):
            ret(device_access(cpu, va, size, kind, const(0, 64)))
        return host_read(cpu, host, size)

    @build.routine(va=64, size=64, access=8, value=64)
    def write_one(cpu: Cpu, va: Value, size: Value, access: Value, value: Value) -> None:
        """Store within one page, to RAM or a device."""
        kind = access & ~PART
        host = locate(cpu, va, kind)
        _watch(build, cpu, va, size, access)
        with when(host == 0) as device:
            device_access(cpu, va, size, kind, value)
            with device.otherwise():
                host_write(cpu, host, value, size)


def _any_size(build: Builder) -> None:
    translate = build.hooks.translate
    read_one, write_one = build.routines["read_one"], build.routines["write_one"]

    @build.routine(va=64, size=64, access=8)
    def check_access(cpu: Cpu, va: Value, size: Value, access: Value) -> None:
        """Trap if any of ``size`` bytes may not be accessed, with the address of the first byte
        that is in the faulting page."""
        kind = access & ~PART
        translate(cpu, va, kind)
        last = va + size - 1
        crosses = ((va ^ last) & ~OFFSET) != 0
        translate(cpu, select(crosses, last & ~OFFSET, last), kind)
        _watch(build, cpu, va, size, access)

    @build.routine(returns=64, va=64, size=64, access=8)
    def slow_load(cpu: Cpu, va: Value, size: Value, access: Value) -> Value:
        """Load up to 8 bytes; an access across a page boundary is done byte by byte."""
        with when((PAGE - size).uge(va & OFFSET)):
            ret(read_one(cpu, va, size, access))
        if build.hooks.watch is not None:
            with when(cpu.debugging != 0):
                check_access(cpu, va, size, access)
        result = cpu.local(const(0, 64))
        for n in range(8):
            with when(const(n, 64).ult(size)):
                byte = read_one(cpu, va + n, const(1, 64), access)
                result.set(result.value | (byte << 8 * n))
        return result.value

    @build.routine(va=64, size=64, access=8, value=64)
    def slow_store(cpu: Cpu, va: Value, size: Value, access: Value, value: Value) -> None:
        """Store up to 8 bytes; nothing is stored unless both pages may be written."""
        with when((PAGE - size).uge(va & OFFSET)):
            write_one(cpu, va, size, access, value)
            ret()
        check_access(cpu, va, size, access)
        for n in range(8):
            with when(const(n, 64).ult(size)):
                write_one(cpu, va + n, const(1, 64), access, value.lsr(8 * n) & 0xFF)


def _aligned(build: Builder) -> None:
    locate, translate = build.routines["locate"], build.hooks.translate

    @build.routine(returns=64, va=64, size=64, access=8)
    def atomic_host(cpu: Cpu, va: Value, size: Value, access: Value) -> Value:
        """The host address for an atomic access, or a trap: it must be aligned, in writable RAM."""
        plain = access & (STORE | UNPRIVILEGED)
        check_aligned(cpu, va, size, plain)
        host = locate(cpu, va, plain)
        with when((access & UPDATE) != 0), when((translate(cpu, va, plain) & UNREADABLE) != 0):
            translate(cpu, va, plain & UNPRIVILEGED | LOAD)
        with when(host == 0):
            build.hooks.access_fault(cpu, plain, va)
        _watch(build, cpu, va, size, access)
        return host

    @build.routine(va=64, size=64, access=8)
    def check_aligned(cpu: Cpu, va: Value, size: Value, access: Value) -> None:
        """Raise the trap of a misaligned access unless ``va`` is a multiple of ``size``."""
        with when((va & (size - 1)) != 0):
            build.hooks.misaligned(cpu, access, va)

    if (unaligned := build.hooks.unaligned) is not None:

        @build.routine(va=64, size=64, access=8)
        def check_unaligned(cpu: Cpu, va: Value, size: Value, access: Value) -> None:
            """Call the hook ``unaligned`` if an access is misaligned."""
            with when((va & (size - 1)) != 0):
                unaligned(cpu, access, va)


def _fetching(build: Builder) -> None:
    layout = build.layout
    translate, code_page = build.hooks.translate, build.routines["code_page"]

    @build.routine(va=64)
    def fill_fetch(cpu: Cpu, va: Value) -> None:
        """Enter the page of ``va`` into the current fetch TLB, or raise a trap."""
        if build.isa.granule > 1:
            with when((va & (build.isa.granule - 1)) != 0):
                build.hooks.misaligned(cpu, const(FETCH, 8), va)
        permissions = translate(cpu, va, const(FETCH, 8))
        mode, tag = cpu.decode_mode, va & ~OFFSET
        if build.isa.landing is not None:
            guarded = (permissions & GUARDED) != 0
            mode, tag = mode + guarded.zext(8), tag | select(guarded, const(GUARDED_TAG, 64), 0)
        records = code_page(cpu, permissions & ~OFFSET, mode)
        with when(records == 0):
            build.hooks.access_fault(cpu, const(FETCH, 8), va)
        count(cpu, "fetch TLB misses")
        if (examined := build.hooks.examined) is not None:
            cpu.found_records, cpu.examine_here = records, const(0, 8)
            with when(cpu.debugging != 0), when(examined(cpu, va) == 1):
                cpu.examine_here = const(1, 8)
                ret()
        with when(build.routines["may_hold"](cpu, cpu.tlb_number, va, permissions) == 0):
            cpu.attend = const(1, 8)  # so that another TLB is chosen
            ret()
        page = va & ~OFFSET
        build.routines["note_place"](cpu, records - PAGE_RECORDS, page)
        entry = cpu.tlb_base + FETCH_TLB + fetch_row(va)
        host_store(entry, tag)
        shift = layout.scale.bit_length() - 1
        host_store(entry + 8, page - records.lsr(shift))
        if build.layout.tells_of_stores:
            with when(build.routines["is_current"](cpu, records - PAGE_RECORDS) == 0):
                host_store(entry, const(-1, 64))
                cpu.attend = const(1, 8)
