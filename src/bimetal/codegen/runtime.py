"""What native code does between instructions: memory, TLBs, decoded pages, devices.

These are routines in the language of the descriptions, with two words more: `host_load` and
`host_store` at host addresses. The ISA contributes `translate`, `context`, `take_trap` and the
rest of its hooks; nothing here knows which ISA it is.
"""

from __future__ import annotations

from collections.abc import Callable

from ..ir.value import Value, const, emit, select
from ..isa.describe import Isa
from ..isa.state import StateSpec
from ..isa.trace import Cpu, Routine, ret, when
from .layout import (
    ADDENDS,
    CONTEXTS,
    ENTRY,
    FETCH_ENTRIES,
    FETCH_TLB,
    LOAD_TLB,
    MEMORY_SLOTS,
    PAGE,
    PAGE_COPY,
    PAGE_EPOCH,
    PAGE_HOST,
    PAGE_RECORDS,
    RECORD,
    ROW_FACTOR,
    ROW_SHIFT,
    SAMPLE_WORDS,
    SAMPLES,
    STORE_TLB,
    TLB_BYTES,
    Layout,
)  # fmt: skip

__all__ = ["COUNTERS", "LEAVE", "LEFT", "NOTHING", "TRAPPED", "runtime"]

NOTHING, TRAPPED, LEFT = 0, 1, 2
# Why native code is left, by number.
LEAVE = ("kicked", "halt", "firmware call", "mmio", "reference", "debug")
COUNTERS = (
    "data TLB misses",
    "fetch TLB misses",
    "polls",
    "traps",
    "pages decoded",
    "code arenas emptied",
    "TLB flushes",
    "pages flushed",
)
# Polls between checks of all decoded code against memory.
REVALIDATE = 64
# The generator of MMIX (Knuth, The Art of Computer Programming, 3.3.4, table 1).
JITTER_FACTOR, JITTER_TERM = 6364136223846793005, 1442695040888963407
LOAD, STORE, FETCH = 0, 1, 2
OFFSET = PAGE - 1
LARGE = 8


def host_load(address: Value, width: int) -> Value:
    """Load from a host address."""
    return emit("hload", width, (address,))


def host_store(address: Value, value: Value) -> None:
    """Store to a host address."""
    emit("hstore", 0, (address, value))


def data_tag(va: Value) -> Value:
    """Where the tag of an address lies in a data TLB, in bytes. See `tlb.TlbLowering`."""
    return ((va & ~OFFSET).trunc(32) * ROW_FACTOR).lsr(ROW_SHIFT).zext(64) * 8


def state_address(name: str) -> Value:
    """The host address of an engine variable, or of the TLBs."""
    return emit("haddr", 64, (), name)


def count(cpu: Cpu, name: str) -> None:
    """Add one to a counter."""
    index = COUNTERS.index(name)
    cpu.counter[index] = cpu.counter[index] + 1


def _fill(address: Value, byte: int, size: Value | int) -> None:
    size = size if isinstance(size, Value) else const(size, 64)
    emit("memset", 0, (address, const(byte, 8), size))


def _copy(to: Value, source: Value, size: int) -> None:
    emit("memcpy", 0, (to, source, const(size, 64)))


def _differ(a: Value, b: Value, size: int) -> Value:
    return emit("memcmp", 32, (a, b, const(size, 64))) != 0


class _Builder:
    """Collects the routines of one ISA's runtime, so that they can call each other by name."""

    def __init__(self, layout: Layout):
        self.layout = layout
        self.spec: StateSpec = layout.spec
        self.isa: Isa = layout.isa
        self.routines: dict[str, Routine] = dict(layout.isa.routines)

    def routine(
        self, returns: int = 0, **widths: int
    ) -> Callable[[Callable[..., Value | None]], Routine]:
        """Declare a routine of the engine."""

        def register(body: Callable[..., Value | None]) -> Routine:
            made = Routine(body, self.spec, widths, returns)
            self.routines[made.name] = made
            return made

        return register

    def hook(self, name: str) -> Routine:
        """A routine that the ISA must have described."""
        return self.isa.routines[name]


def runtime(layout: Layout) -> dict[str, Routine]:
    """Every routine of the engine for one ISA, the ISA's own included, by name."""
    build = _Builder(layout)
    _flushing(build)
    _finding(build)
    _locating(build)
    _host_memory(build)
    _single(build)
    _any_size(build)
    _aligned(build)
    _decoding(build)
    _fetching(build)
    _sampling(build)
    _polling(build)
    return build.routines


def _flushing(build: _Builder) -> None:
    @build.routine()
    def flush_fetch(cpu: Cpu) -> None:
        """Empty the fetch TLBs."""
        base = state_address("tlb") + FETCH_TLB
        for n in range(CONTEXTS):
            _fill(base + n * TLB_BYTES, 0xFF, FETCH_ENTRIES * ENTRY)

    @build.routine()
    def flush(cpu: Cpu) -> None:
        """Empty all TLBs."""
        for n in range(CONTEXTS):
            _fill(state_address("tlb") + n * TLB_BYTES, 0xFF, ADDENDS)
        cpu.large_low, cpu.large_high = const(-1, 64), const(0, 64)
        count(cpu, "TLB flushes")

    @build.routine(va=64)
    def flush_page(cpu: Cpu, va: Value) -> None:
        """Forget one page's translations, or all if it may lie in a large page."""
        with when(va.uge(cpu.large_low) & (cpu.large_high.uge(va))):
            flush(cpu)
            ret()
        count(cpu, "pages flushed")
        number = va.lsr(12)
        data = state_address("tlb") + data_tag(va)
        fetch = state_address("tlb") + (number & (FETCH_ENTRIES - 1)) * ENTRY + FETCH_TLB
        for n in range(CONTEXTS):
            for entry in (data + LOAD_TLB, data + STORE_TLB, fetch):
                host_store(entry + n * TLB_BYTES, const(-1, 64))

    @build.routine()
    def fence_code(cpu: Cpu) -> None:
        """Instruction fetches see all earlier stores: every page must prove itself again."""
        cpu.code_epoch = cpu.code_epoch + 1
        flush_fetch(cpu)

    @build.routine(context=8)
    def enter_context(cpu: Cpu, context: Value) -> None:
        """Change to a context; the one that depends on more than the mode starts empty."""
        changing = build.routines["volatile_context"]
        with when((context != cpu.tlb_context) & (changing(cpu, context) == 1)):
            _fill(state_address("tlb") + context.zext(64) * TLB_BYTES, 0xFF, ADDENDS)
        cpu.tlb_context = context


def _finding(build: _Builder) -> None:
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
        """As `ram_host`, but 0 in a read-only slot too."""
        for n in range(MEMORY_SLOTS):
            offset = pa - cpu.slot_base[n]
            with when(offset.ult(cpu.slot_size[n])):
                ret(select(cpu.slot_readonly[n] == 0, offset + cpu.slot_host[n], 0))
        return const(0, 64)

    @build.routine(returns=1, pa=64)
    def is_ram(cpu: Cpu, pa: Value) -> Value:
        """Whether a physical address is writable memory."""
        return ram_host_writable(cpu, pa) != 0

    @build.routine(returns=64)
    def instret(cpu: Cpu) -> Value:
        """Instructions retired since reset."""
        retired: Value = cpu.poll_at - cpu.budget
        return retired

    @build.routine(va=64, permissions=64, host=64, access=8)
    def fill_data(cpu: Cpu, va: Value, permissions: Value, host: Value, access: Value) -> None:
        """Enter a translation to the host page at ``host`` into the data TLB of the access."""
        page = va & ~OFFSET
        tlb = state_address("tlb") + cpu.tlb_context.zext(64) * TLB_BYTES
        tag = tlb + data_tag(va) + select(access == STORE, const(STORE_TLB, 64), LOAD_TLB)
        host_store(tag, page)
        host_store(tag + ADDENDS, host - page)
        _note_large(cpu, va, permissions)
        count(cpu, "data TLB misses")


def _note_large(cpu: Cpu, va: Value, permissions: Value) -> None:
    """Remember where large pages are cached, so that `flush_page` knows when it is not enough.

    A gigabyte on both sides covers the pages of two levels; larger ones are as rare as flushes.
    """
    with when((permissions & LARGE) != 0):
        span = 1 << 30
        low, high = va & -span, va | span - 1
        cpu.large_low = select(low.ult(cpu.large_low), low, cpu.large_low)
        cpu.large_high = select(cpu.large_high.ult(high), high, cpu.large_high)


def _locating(build: _Builder) -> None:
    translate = build.hook("translate")
    ram_host, writable = build.routines["ram_host"], build.routines["ram_host_writable"]
    fill_data = build.routines["fill_data"]

    @build.routine(returns=64, pa=64, size=64, write=64, value=64)
    def device_access(cpu: Cpu, pa: Value, size: Value, write: Value, value: Value) -> Value:
        """Ask the board, or take the answer it has given to this instruction before."""
        at = cpu.replay_at
        with when(at.ult(cpu.replay_count)):
            cpu.replay_at = at + 1
            ret(host_load(state_address("replay") + at * 8, 64))
        cpu.leave("mmio", pa, size, write, value)
        return const(0, 64)

    @build.routine(returns=64, va=64, access=8)
    def locate(cpu: Cpu, va: Value, access: Value) -> Value:
        """Host address of the byte at ``va`` in RAM, its page cached; 0 with leave_args[0] = the
        physical address if it is not in RAM."""
        permissions = translate(cpu, va, access)
        page = permissions & ~OFFSET
        offset = va & OFFSET
        found = cpu.local(ram_host(cpu, page))
        with when(access == STORE):
            found.set(writable(cpu, page))
        host = found.value
        with when(host == 0):
            cpu.leave_args[0] = page | offset
            ret(const(0, 64))
        fill_data(cpu, va, permissions, host, access)
        return host + offset


def _host_memory(build: _Builder) -> None:
    @build.routine(returns=64, address=64, size=64)
    def host_read(cpu: Cpu, address: Value, size: Value) -> Value:
        """1, 2, 4 or 8 bytes at a host address."""
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


def _single(build: _Builder) -> None:
    locate, device_access = build.routines["locate"], build.routines["device_access"]
    host_read, host_write = build.routines["host_read"], build.routines["host_write"]

    @build.routine(returns=64, va=64, size=64)
    def read_one(cpu: Cpu, va: Value, size: Value) -> Value:
        """Load within one page, from RAM or a device."""
        host = locate(cpu, va, const(LOAD, 8))
        with when(host == 0):
            ret(device_access(cpu, cpu.leave_args[0], size, const(0, 64), const(0, 64)))
        return host_read(cpu, host, size)

    @build.routine(va=64, value=64, size=64)
    def write_one(cpu: Cpu, va: Value, value: Value, size: Value) -> None:
        """Store within one page, to RAM or a device."""
        host = locate(cpu, va, const(STORE, 8))
        with when(host == 0) as device:
            device_access(cpu, cpu.leave_args[0], size, const(1, 64), value)
            with device.otherwise():
                host_write(cpu, host, value, size)


def _any_size(build: _Builder) -> None:
    translate = build.hook("translate")
    read_one, write_one = build.routines["read_one"], build.routines["write_one"]

    @build.routine(returns=64, va=64, size=64)
    def slow_load(cpu: Cpu, va: Value, size: Value) -> Value:
        """Load any ``size`` bytes; the parts of an access over two pages are bytes."""
        with when((PAGE - size).uge(va & OFFSET)):
            ret(read_one(cpu, va, size))
        result = cpu.local(const(0, 64))
        for n in range(8):
            with when(const(n, 64).ult(size)):
                byte = read_one(cpu, va + n, const(1, 64))
                result.set(result.value | (byte << 8 * n))
        return result.value

    @build.routine(va=64, value=64, size=64)
    def slow_store(cpu: Cpu, va: Value, value: Value, size: Value) -> None:
        """Store any ``size`` bytes; nothing is stored unless both pages may be written."""
        with when((PAGE - size).uge(va & OFFSET)):
            write_one(cpu, va, value, size)
            ret()
        translate(cpu, va, const(STORE, 8))
        translate(cpu, va + size - 1, const(STORE, 8))
        for n in range(8):
            with when(const(n, 64).ult(size)):
                write_one(cpu, va + n, value.lsr(8 * n) & 0xFF, const(1, 64))


def _aligned(build: _Builder) -> None:
    locate = build.routines["locate"]

    @build.routine(returns=64, va=64, size=64)
    def atomic_host(cpu: Cpu, va: Value, size: Value) -> Value:
        """The host address for an atomic access: aligned, writable RAM, or a trap."""
        with when((va & (size - 1)) != 0):
            build.hook("misaligned")(cpu, const(STORE, 8), va)
        host = locate(cpu, va, const(STORE, 8))
        with when(host == 0):
            build.hook("access_fault")(cpu, const(STORE, 8), va)
        return host

    @build.routine(va=64, size=64)
    def check_aligned(cpu: Cpu, va: Value, size: Value) -> None:
        """Raise the misaligned-load trap unless ``va`` is a multiple of ``size``."""
        with when((va & (size - 1)) != 0):
            build.hook("misaligned")(cpu, const(LOAD, 8), va)


def _decoding(build: _Builder) -> None:
    layout = build.layout
    ram_host = build.routines["ram_host"]
    flush_fetch = build.routines["flush_fetch"]
    records_bytes = layout.records * RECORD

    @build.routine(page=64)
    def decode_afresh(cpu: Cpu, page: Value) -> None:
        """Take a decoded page's code from guest memory again and forget all of its records."""
        _copy(page + PAGE_COPY, host_load(page + PAGE_HOST, 64), PAGE)
        _copy(page + PAGE_RECORDS, cpu.blank_records, records_bytes)
        count(cpu, "pages decoded")

    @build.routine(returns=64)
    def allocate_page(cpu: Cpu) -> Value:
        """Room for a decoded page; a full arena is emptied."""
        page = cpu.local(cpu.arena_next)
        with when(cpu.arena_end.ult(page.value + layout.page_bytes)):
            _fill(cpu.code_table, 0, cpu.code_table_bytes)
            flush_fetch(cpu)
            page.set(cpu.arena_start)
            count(cpu, "code arenas emptied")
        cpu.arena_next = page.value + layout.page_bytes
        return page.value

    @build.routine(returns=64, pa=64)
    def code_page(cpu: Cpu, pa: Value) -> Value:
        """The records of the physical page at ``pa``; 0 if it is not in a memory slot."""
        index = cpu.local(const(-1, 64))
        for n in range(MEMORY_SLOTS):
            offset = pa - cpu.slot_base[n]
            with when(offset.ult(cpu.slot_size[n])):
                index.set(cpu.slot_page[n] + offset.lsr(12))
        with when(index.value == -1):
            ret(const(0, 64))
        slot = cpu.code_table + index.value * 8
        page = cpu.local(host_load(slot, 64))
        with when(page.value == 0) as fresh:
            page.set(allocate_page(cpu))
            host_store(page.value + PAGE_HOST, ram_host(cpu, pa))
            decode_afresh(cpu, page.value)
            host_store(slot, page.value)
            with fresh.otherwise(), when(host_load(page.value + PAGE_EPOCH, 64) != cpu.code_epoch):
                source = host_load(page.value + PAGE_HOST, 64)
                with when(_differ(page.value + PAGE_COPY, source, PAGE)):
                    decode_afresh(cpu, page.value)
        host_store(page.value + PAGE_EPOCH, cpu.code_epoch)
        return page.value + PAGE_RECORDS


def _fetching(build: _Builder) -> None:
    layout = build.layout
    translate, code_page = build.hook("translate"), build.routines["code_page"]

    @build.routine(va=64)
    def fill_fetch(cpu: Cpu, va: Value) -> None:
        """Enter the page of ``va`` into the current fetch TLB, or raise a trap."""
        permissions = translate(cpu, va, const(FETCH, 8))
        records = code_page(cpu, permissions & ~OFFSET)
        with when(records == 0):
            build.hook("access_fault")(cpu, const(FETCH, 8), va)
        page = va & ~OFFSET
        tlb = state_address("tlb") + cpu.tlb_context.zext(64) * TLB_BYTES + FETCH_TLB
        entry = tlb + (va.lsr(12) & (FETCH_ENTRIES - 1)) * ENTRY
        host_store(entry, page)
        shift = layout.scale.bit_length() - 1
        host_store(entry + 8, page - records.lsr(shift))
        _note_large(cpu, va, permissions)
        count(cpu, "fetch TLB misses")


def _sampling(build: _Builder) -> None:
    @build.routine()
    def sample(cpu: Cpu) -> None:
        """Leave in the ring where the budget ran out: a fair picture of where instructions go.

        The jump that noticed it tells its own address: the one that it leads to may lie in a
        function of which nothing has been executed yet.
        """
        place = (cpu.sample_count & SAMPLES - 1) * (8 * SAMPLE_WORDS)
        at = state_address("sample") + place
        host_store(at, cpu.spent_record)
        host_store(at + 8, cpu.spent_by)
        host_store(at + 16, select(cpu.spent_pc == -1, cpu.pc, cpu.spent_pc))
        host_store(at + 24, build.hook("mode")(cpu).zext(64))
        host_store(at + 32, cpu.spent_in_region)
        cpu.samples_in_regions = cpu.samples_in_regions + cpu.spent_in_region
        cpu.sample_count = cpu.sample_count + 1


def _polling(build: _Builder) -> None:
    @build.routine(returns=64)
    def next_budget(cpu: Cpu) -> Value:
        """Seven eighths of a slice, more or less an eighth: in a loop whose length divides the
        budget, every sample would be of the same place."""
        random = cpu.jitter * JITTER_FACTOR + JITTER_TERM
        cpu.jitter = random
        # Its upper 31 bits as a fraction of a quarter.
        budget: Value = cpu.slice - (random.lsr(33) * (cpu.slice.lsr(2) + 1)).lsr(31)
        return budget

    @build.routine()
    def poll(cpu: Cpu) -> None:
        """The budget is spent: hand out a new one and do what has been asked for meanwhile."""
        with when(cpu.flush_wanted == 0):  # or it was taken away, and says nothing
            build.routines["sample"](cpu)
        cpu.spent_record, cpu.spent_by, cpu.spent_pc = const(0, 64), const(0, 64), const(-1, 64)
        cpu.spent_in_region = const(0, 64)
        left, budget = cpu.budget, next_budget(cpu)
        cpu.poll_at = cpu.poll_at - left + budget
        cpu.budget = budget
        with when(cpu.flush_wanted != 0):
            cpu.flush_wanted = const(0, 8)
            build.routines["flush"](cpu)
            build.routines["fence_code"](cpu)
        build.hook("poll_timer")(cpu)
        count(cpu, "polls")
        # Stores become visible to fetches without a fence too, in the end (Ziccid).
        with when((cpu.counter[COUNTERS.index("polls")] & REVALIDATE - 1) == 0):
            build.routines["fence_code"](cpu)
        with when(cpu.stop != 0):
            cpu.stop = const(0, 8)
            cpu.leave("kicked")
