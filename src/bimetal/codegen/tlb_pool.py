"""The TLBs of a vCPU: which of them is in use, and how they are flushed.

A TLB serves one context (a set of rights, see `Hooks.context`) and has an *owner*: an address space
or, as long as all its pages are global, the group of spaces that share these pages
(`Hooks.address_space`, `global_space`). So a change of address space selects another TLB and
empties none, and a kernel whose pages are all global keeps one TLB for all processes. The fast
forms of accesses know nothing of this: they are given a TLB's address. There are `TLBS` of them;
the least recently used one is emptied for a new owner. Flushing a TLB takes its owner away, and
costs nothing more until another owner needs it.
"""

from __future__ import annotations

from ..ir.value import Value, const, select
from ..isa.contract import GLOBAL, HUGE, LARGE, STORE, UNPRIVILEGED
from ..isa.trace import Cpu, ret, slowly, when
from .builder import Builder, count, fill, host_load, host_store, state_address
from .layout import (
    ADDENDS,
    CONTEXTS,
    DATA_ENTRIES,
    ENTRY,
    FETCH_ENTRIES,
    FETCH_TLB,
    GUARDED_TAG,
    LOAD_TLB,
    OWN_PAGES,
    PAGE,
    ROW_FACTOR,
    ROW_SHIFT,
    STORE_TLB,
    TLB_BYTES,
    TLBS,
)  # fmt: skip

__all__ = [
    "NO_CONTEXT", "data_tag", "describe_tlbs", "fetch_row", "in_question", "is_own",
    "leave_fetch_tlbs",
]  # fmt: skip

# Neither an owner nor a context: values for TLBs that are free.
NOBODY, NO_CONTEXT = -1, 0xFF
# Addresses within a gigabyte of a large page may belong to it; all may belong to one that is huge.
SPAN = 1 << 30
PAGES = 32
"""The most pages that are looked up one by one in a flush by address."""


def data_row(va: Value) -> Value:
    """The offset, in bytes, of an address's tag in a data TLB. See `tlb.TlbLowering`."""
    return ((va & -PAGE).trunc(32) * ROW_FACTOR).lsr(ROW_SHIFT).zext(64) * 8


def fetch_row(va: Value) -> Value:
    """The offset of an address's entry in a fetch TLB."""
    return (va.lsr(12) & (FETCH_ENTRIES - 1)) * ENTRY


def leave_fetch_tlbs(tlbs: Value, va: Value) -> None:
    """Take a page out of a vCPU's fetch TLBs, the first of its TLBs being at the host address
    ``tlbs``. Of entries only tags change, so another vCPU may do this while they are in use."""
    for number in range(TLBS):
        entry = tlbs + number * TLB_BYTES + FETCH_TLB + fetch_row(va)
        with when((host_load(entry, 64) & ~GUARDED_TAG) == va):
            host_store(entry, const(-1, 64))


def is_own(access: Value) -> Value:
    """Whether an access has the rights of the mode that the vCPU is in."""
    own: Value = (access & UNPRIVILEGED) == 0
    return own


def data_tag(cpu: Cpu, va: Value, access: Value) -> Value:
    """The host address of a page's tag in the data TLB of an access."""
    tlb = select(is_own(access), cpu.tlb_base, cpu.user_tlb)
    kind = select(access[0] == STORE, const(STORE_TLB, 64), LOAD_TLB)
    tag: Value = tlb + data_row(va) + kind
    return tag


def describe_tlbs(build: Builder) -> None:
    """Describe all routines that choose, fill and flush TLBs."""
    _forgetting(build)
    _forgetting_pages(build)
    _forgetting_ranges(build)
    _forgetting_code(build)
    _serving(build)
    _entering(build)
    _filling(build)


def _drop(cpu: Cpu, number: int) -> None:
    """Take a TLB's owner away; `_choose_anew` has to follow."""
    cpu.tlb_owner[number] = const(NOBODY, 64)
    cpu.tlb_served[number] = const(0, 64)


def _choose_anew(cpu: Cpu) -> None:
    """Forget which TLB each context used last, and have them chosen again."""
    cpu.tlb_context = const(NO_CONTEXT, 8)
    fill(state_address("tlb_last_space"), 0xFF, 8 * CONTEXTS)


def in_question(
    owner: Value, globals_in: Value, va: Value, mask: Value, match: Value, own: Value
) -> Value:
    """Whether an owner's TLB may hold pages that are to be flushed: in the half of the address
    range in which ``va`` is, of address spaces that equal ``match`` in the bits of ``mask`` and,
    for pages that are not global, also in the bits of ``own``. ``globals_in`` says in which halves
    the TLB may hold global pages."""
    half = globals_in.lsr(va[63].zext(8))[0] == 1
    bits = select(half, mask, mask | own)
    found: Value = ((owner & bits) == match & bits) & (owner != NOBODY)
    return found


def _forgetting(build: Builder) -> None:
    @build.routine()
    def flush(cpu: Cpu) -> None:
        """Flush all translations."""
        fill(state_address("tlb_owner"), 0xFF, 8 * TLBS)
        fill(state_address("tlb_served"), 0, 8 * TLBS)
        _choose_anew(cpu)
        cpu.attend = const(1, 8)
        count(cpu, "TLB flushes")

    @build.routine(mask=64, match=64)
    def flush_spaces(cpu: Cpu, mask: Value, match: Value) -> None:
        """Flush the address spaces that equal ``match`` in the bits of ``mask``."""
        for number in range(TLBS):
            owner = cpu.tlb_owner[number]
            with when(((owner & mask) == match) & (owner != NOBODY)):
                _drop(cpu, number)
        _choose_anew(cpu)
        cpu.attend = const(1, 8)
        count(cpu, "TLB flushes")


def _forgetting_pages(build: Builder) -> None:
    @build.routine(tlb=64, va=64, pages=64)
    def flush_rows(cpu: Cpu, tlb: Value, va: Value, pages: Value) -> None:
        """Remove up to `PAGES` pages from a TLB."""
        for n in range(PAGES):
            with when(pages == n):
                ret()
            page = va + n * PAGE
            row = data_row(page)
            for entry in (row + LOAD_TLB, row + STORE_TLB, fetch_row(page) + FETCH_TLB):
                host_store(tlb + entry, const(-1, 64))

    @build.routine(number=8)
    def flush_own(cpu: Cpu, number: Value) -> None:
        """Remove the pages from a TLB that it lists as not global."""
        for n in range(OWN_PAGES):
            with when(cpu.tlb_own_count[number] == n):
                cpu.tlb_own_count[number] = const(0, 8)
                ret()
            flush_rows(cpu, _address(number), cpu.tlb_own[number * OWN_PAGES + n], const(1, 64))
        cpu.tlb_own_count[number] = const(0, 8)

    @build.routine(space=64)
    def flush_space(cpu: Cpu, space: Value) -> None:
        """Flush the pages of an address space that are not global. A TLB with few of them keeps the
        others: kernels write to their own code in a space that has nothing else of its own, which
        they flush each time."""
        dropped = cpu.local(const(0, 1))
        for n in range(TLBS):
            many = const(OWN_PAGES, 8).ult(cpu.tlb_own_count[n])
            with when(cpu.tlb_owner[n] == space), when(many) as all_of_it:
                _drop(cpu, n)
                dropped.set(const(1, 1))
                with all_of_it.otherwise():
                    flush_own(cpu, const(n, 8))
        with when(dropped.value == 1):
            _choose_anew(cpu)
            cpu.attend = const(1, 8)
        count(cpu, "TLB flushes")


def _forgetting_ranges(build: Builder) -> None:
    flush_rows = build.routines["flush_rows"]

    @build.routine(va=64, pages=64, mask=64, match=64, own=64)
    def flush_pages(
        cpu: Cpu, va: Value, pages: Value, mask: Value, match: Value, own: Value
    ) -> None:
        """Flush ``pages`` pages of 4 KiB from ``va`` on, in the TLBs that `in_question` selects.

        TLBs that may hold some of them as part of a large page are flushed as a whole, and so are
        all of them if there are more than `PAGES`.
        """
        end, many = va + (pages << 12) - 1, const(PAGES, 64).ult(pages)
        last = select(end.ult(va), const(-1, 64), end)  # no range goes on at address 0
        dropped = cpu.local(const(0, 1))
        for n in range(TLBS):
            owner, halves = cpu.tlb_owner[n], cpu.tlb_globals[n]
            large = last.uge(cpu.tlb_low[n]) & cpu.tlb_high[n].uge(va)
            asked = in_question(owner, halves, va, mask, match, own)
            with when(asked), when(large | many) as whole:
                _drop(cpu, n)
                dropped.set(const(1, 1))
                with whole.otherwise():
                    flush_rows(cpu, state_address("tlb") + n * TLB_BYTES, va, pages)
        with when(dropped.value == 1):
            _choose_anew(cpu)
            cpu.attend = const(1, 8)
        count(cpu, "pages flushed")


def _forgetting_code(build: Builder) -> None:
    @build.routine()
    def flush_fetch(cpu: Cpu) -> None:
        """Empty the fetch TLBs: the one in use now, the others before they are used again."""
        cpu.fetch_epoch = cpu.fetch_epoch + 1
        with when(cpu.tlb_base != 0):
            fill(cpu.tlb_base + FETCH_TLB, 0xFF, FETCH_ENTRIES * ENTRY)
            cpu.tlb_fetched[cpu.tlb_number] = cpu.fetch_epoch
            fill(state_address("tlb_last_space"), 0xFF, 8 * CONTEXTS)

    @build.routine()
    def fence_code(cpu: Cpu) -> None:
        """Make instruction fetches see all earlier stores: every decoded page is compared with
        memory before it is executed again."""
        cpu.code_epoch = cpu.code_epoch + 1
        flush_fetch(cpu)
        cpu.attend = const(1, 8)


def _serving(build: Builder) -> None:
    hooks = build.hooks

    @build.routine(returns=8, context=8, space=64, shared=64)
    def find_tlb(cpu: Cpu, context: Value, space: Value, shared: Value) -> Value:
        """The number of a context's TLB for an address space, or of one with only global pages
        that it shares; `TLBS` if there is none."""
        for wanted in (space, shared):
            for n in range(TLBS):
                with when((cpu.tlb_owner[n] == wanted) & (cpu.tlb_serves[n] == context)):
                    ret(const(n, 8))
        return const(TLBS, 8)

    @build.routine(returns=8, context=8, shared=64)
    def take_tlb(cpu: Cpu, context: Value, shared: Value) -> Value:
        """Empty the least recently used TLB and give it to a context. While empty, it serves all
        spaces that share global pages."""
        oldest, since = cpu.local(const(0, 8)), cpu.local(cpu.tlb_served[0])
        for n in range(1, TLBS):
            with when(cpu.tlb_served[n].ult(since.value)):
                oldest.set(const(n, 8))
                since.set(cpu.tlb_served[n])
        number = oldest.value
        fill(_address(number), 0xFF, ADDENDS)
        cpu.tlb_owner[number], cpu.tlb_serves[number] = shared, context
        cpu.tlb_low[number], cpu.tlb_high[number] = const(-1, 64), const(0, 64)
        cpu.tlb_globals[number] = cpu.tlb_own_count[number] = const(0, 8)
        cpu.tlb_fetched[number] = cpu.fetch_epoch
        fill(state_address("tlb_last_space"), 0xFF, 8 * CONTEXTS)
        cpu.attend = const(1, 8)
        count(cpu, "TLBs emptied")
        return number

    @build.routine(context=8, space=64)
    def choose_tlb(cpu: Cpu, context: Value, space: Value) -> None:
        """Choose the TLB that a context uses in an address space until either changes."""
        shared = hooks.global_space(cpu)
        number = cpu.local(find_tlb(cpu, context, space, shared))
        with when(number.value == TLBS):
            number.set(take_tlb(cpu, context, shared))
        found = number.value
        cpu.tlb_clock = cpu.tlb_clock + 1
        cpu.tlb_served[found] = cpu.tlb_clock
        cpu.tlb_last[context], cpu.tlb_last_space[context] = found, space
        with when(cpu.tlb_fetched[found] != cpu.fetch_epoch):
            if build.isa.coherent:  # a page that it holds may have become code meanwhile
                fill(_address(found) + STORE_TLB, 0xFF, 8 * DATA_ENTRIES)
            fill(_address(found) + FETCH_TLB, 0xFF, FETCH_ENTRIES * ENTRY)
            cpu.tlb_fetched[found] = cpu.fetch_epoch


def _address(number: Value) -> Value:
    return state_address("tlb") + number.zext(64) * TLB_BYTES


def _entering(build: Builder) -> None:
    hooks, choose_tlb = build.hooks, build.routines["choose_tlb"]

    @build.routine()
    def enter_context(cpu: Cpu) -> None:
        """Put the TLBs for the current mode and address space into use."""
        context, space = hooks.context.inline(cpu), hooks.address_space.inline(cpu)
        user = hooks.user_context.inline(cpu, context)
        unprivileged = user is not context  # otherwise the ISA has no such accesses
        same = (context == cpu.tlb_context) & (space == cpu.tlb_space)
        if unprivileged:
            same = same & (user == cpu.user_context)
        with when(~same):
            _enter_mode(build, cpu)
            with slowly(cpu.tlb_last_space[context] != space):
                choose_tlb(cpu, context, space)
            own = cpu.tlb_last[context]
            cpu.tlb_context, cpu.tlb_space, cpu.user_context = context, space, user
            cpu.tlb_number, cpu.tlb_base = own, _address(own)
            if not unprivileged:
                return
            with slowly(cpu.tlb_last_space[user] != space):
                cpu.tlb_served[own] = cpu.tlb_clock  # so that it is not taken for the other one
                choose_tlb(cpu, user, space)
            other = cpu.tlb_last[user]
            cpu.user_number, cpu.user_tlb = other, _address(other)


def _enter_mode(build: Builder, cpu: Cpu) -> None:
    """Set the decode mode of the current context."""
    modes, hook = build.isa.modes, build.hooks.decode_mode
    if hook is None:
        return
    cpu.decode_mode = hook(cpu)
    mask = const((1 << modes[0].pc_bits) - 1, 64)
    for number, mode in enumerate(modes):
        mask = select(cpu.decode_mode == number, const((1 << mode.pc_bits) - 1, 64), mask)
    cpu.pc_mask = mask


def _filling(build: Builder) -> None:
    hooks = build.hooks

    @build.routine(number=8, va=64)
    def list_own(cpu: Cpu, number: Value, va: Value) -> None:
        """Note that a page that is not global is entered into a TLB."""
        known = cpu.tlb_own_count[number]
        with when(const(OWN_PAGES, 8).ult(known)):
            ret()
        cpu.tlb_own_count[number] = known + 1
        with when(known != OWN_PAGES):
            cpu.tlb_own[number * OWN_PAGES + known] = va

    @build.routine(returns=1, number=8, va=64, permissions=64)
    def may_hold(cpu: Cpu, number: Value, va: Value, permissions: Value) -> Value:
        """Whether a TLB may hold a translation that has just been made.

        With its first page that is not global a TLB becomes that of one address space, and it
        records the range of addresses in which it holds large pages.
        """
        with when((permissions & LARGE) != 0):
            span = select((permissions & HUGE) == 0, const(SPAN - 1, 64), -1)
            low, high = va & ~span, va | span
            known_low, known_high = cpu.tlb_low[number], cpu.tlb_high[number]
            cpu.tlb_low[number] = select(low.ult(known_low), low, known_low)
            cpu.tlb_high[number] = select(known_high.ult(high), high, known_high)
        half = const(1, 8) << va[63].zext(8)
        globals_ = cpu.tlb_globals[number]
        cpu.tlb_globals[number] = select((permissions & GLOBAL) == 0, globals_, globals_ | half)
        owner, space = cpu.tlb_owner[number], hooks.address_space.inline(cpu)
        with when(owner == hooks.global_space.inline(cpu)):
            with when((permissions & GLOBAL) == 0):
                with when(cpu.tlb_space != space):
                    ret(const(0, 1))
                cpu.tlb_owner[number] = space
                list_own(cpu, number, va)
            ret(const(1, 1))
        # Otherwise the address space has changed, and no barrier has completed the change yet.
        own: Value = owner == space
        with when(own & ((permissions & GLOBAL) == 0)):
            list_own(cpu, number, va)
        return own
