"""Stores of one vCPU to code that others have decoded, where such stores take effect at once.

A vCPU that has stored to a page which another one executes marks what that one has decoded as out
of date, and takes it out of its fetch TLBs: it sees the store when it next comes to the page by
these, or at its next poll. Both happen wherever an architecture lets programs rely on it: a jump
to code that another CPU has written leads to another page or through a pointer, and an interrupt,
or an instruction that serialises, looks into the fetch TLBs.

What others have is read and marked under the lock of their box. That nothing is missed between two
vCPUs, of which one begins to execute a page while the other enters it into a store TLB, or one
compares the page with memory while the other marks it, is seen to in one way: each first says what
it does, passes a full fence, and then looks at what the other one says.

A store that has found its page in the store TLB, and has not been made yet, may be missed by a vCPU
that begins to execute the page at this moment; it is seen when that one next comes to the page from
elsewhere, as a page is compared with memory whenever it is entered into a fetch TLB.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..ir.value import Value, const
from ..isa.trace import Cpu, ret, when
from .builder import Builder, exchange, fill, host_load, host_store, state_address
from .layout import (
    AT_REST,
    DATA_ENTRIES,
    ENTRY,
    EVERYWHERE,
    FETCH_ENTRIES,
    FETCH_TLB,
    NEVER,
    NOWHERE,
    PAGE_EPOCH,
    PAGE_STORES,
    PAGE_VA,
    SOMEWHERE,
    STORE_TLB,
    TLB_BYTES,
    TLBS,
)  # fmt: skip
from .messages import ROW
from .tlb_pool import leave_fetch_tlbs

__all__ = ["describe_other_vcpus", "last_entered", "locked"]


@contextmanager
def locked(build: Builder, cpu: Cpu, peer: Value | None = None) -> Iterator[None]:
    """While a box's lock is held: a peer's, or this vCPU's. None is needed where there are no
    others."""
    if not build.layout.shared:
        yield
        return
    at = build.layout.offsets["box_lock"]
    lock = state_address("box_lock") if peer is None else peer + at
    cpu.host("lock", 0, lock)
    yield
    exchange(lock, const(0, 64))


def describe_other_vcpus(build: Builder) -> None:
    """Describe the routines that look at what other vCPUs have, and change it. They go through all
    peers from one with a ``number`` on, and find a page's row at a ``place`` of their tables."""
    _executing(build)
    _marking(build)
    _emptying(build)


def _peer(build: Builder, cpu: Cpu, number: Value, place: Value) -> tuple[Value, Value]:
    """The address of a peer's state, and that of a row of its table of code."""
    peer = host_load(cpu.peers + number * ROW, 64)
    return peer, host_load(peer + build.layout.offsets["code_table"], 64) + place


def _decoded(build: Builder, row: Value) -> Value:
    """Whether a row has a decoded page in any mode."""
    found = const(0, 64)
    for mode in range(len(build.isa.modes)):
        found = found | host_load(row + 8 * mode, 64)
    return found != 0


def last_entered(build: Builder, row: Value) -> Value:
    """Where a row of a table of code tells when its page was entered into a store TLB last."""
    return row + 8 * (build.layout.code_row - 1)


def _executing(build: Builder) -> None:
    @build.routine(returns=1, number=64, place=64)
    def others_execute(cpu: Cpu, number: Value, place: Value) -> Value:
        """Whether a page's code counts as such for any of the peers."""
        with when(number.uge(cpu.peer_count)):
            ret(const(0, 1))
        peer, row = _peer(build, cpu, number, place)
        with when(_decoded(build, row)):
            answer = cpu.local(const(0, 1))
            with locked(build, cpu, peer):
                for mode in range(len(build.isa.modes)):
                    page = host_load(row + 8 * mode, 64)
                    with when(page != 0):
                        stores = host_load(page + PAGE_STORES, 64)
                        answer.set(answer.value | stores.ult(AT_REST))
            with when(answer.value == 1):
                ret(const(1, 1))
        return build.routines["others_execute"](cpu, number + 1, place)

    @build.routine(returns=1, pa=64)
    def may_stay(cpu: Cpu, pa: Value) -> Value:
        """Whether a page that has been entered into a store TLB is still no page of code: another
        vCPU may have decoded it, and have emptied the store TLBs just before."""
        row = build.routines["code_slots"](cpu, pa)
        with when(row == 0):
            ret(const(1, 1))
        cpu.fence(full=True)
        emptied = host_load(last_entered(build, row), 64) != cpu.store_epoch + 1
        others = others_execute(cpu, const(0, 64), row - cpu.code_table)
        stays: Value = ~emptied & (others == 0)
        return stays

    @build.routine(returns=1, page=64)
    def is_current(cpu: Cpu, page: Value) -> Value:
        """Whether a page that has been entered into the fetch TLB is still as memory is: another
        vCPU may have stored to it, and have taken it out of the fetch TLBs just before."""
        cpu.fence(full=True)
        epoch, stores = host_load(page + PAGE_EPOCH, 64), host_load(page + PAGE_STORES, 64)
        same: Value = (epoch == cpu.code_epoch) & (stores == 0)
        return same


def _marking(build: Builder) -> None:
    @build.routine(entry=64, left=64)
    def forget_tags(cpu: Cpu, entry: Value, left: Value) -> None:
        """Empty so many entries of a fetch TLB that is in use: the tags alone, as the vCPU may have
        found one and be about to read what belongs to it."""
        with when(left != 0):
            for number in range(8):
                host_store(entry + number * ENTRY, const(-1, 64))
            forget_tags(cpu, entry + 8 * ENTRY, left - 8)

    @build.routine(peer=64, page=64)
    def out_of_date(cpu: Cpu, peer: Value, page: Value) -> None:
        """Have a peer compare a page of its own with memory when it next comes to it."""
        stores = host_load(page + PAGE_STORES, 64)
        with when(stores.ult(AT_REST)):
            host_store(page + PAGE_STORES, stores + 1)
        host_store(page + PAGE_EPOCH, const(NEVER, 64))
        cpu.fence(full=True)
        tlbs, place = peer + build.layout.tlb, host_load(page + PAGE_VA, 64)
        with when(place == EVERYWHERE) as everywhere:
            for number in range(TLBS):
                forget_tags(cpu, tlbs + number * TLB_BYTES + FETCH_TLB, const(FETCH_ENTRIES, 64))
            with everywhere.otherwise(), when(place != NOWHERE):
                leave_fetch_tlbs(tlbs, place - SOMEWHERE)

    @build.routine(number=64, place=64)
    def tell_of_store_from(cpu: Cpu, number: Value, place: Value) -> None:
        with when(number.ult(cpu.peer_count)):
            peer, row = _peer(build, cpu, number, place)
            with when(_decoded(build, row)), locked(build, cpu, peer):
                for mode in range(len(build.isa.modes)):
                    page = host_load(row + 8 * mode, 64)
                    with when(page != 0):
                        out_of_date(cpu, peer, page)
            tell_of_store_from(cpu, number + 1, place)

    @build.routine()
    def tell_of_store(cpu: Cpu) -> None:
        """Mark what others have of the page that was stored to, if any."""
        stored = cpu.stored_code
        with when(stored != 0):
            cpu.stored_code = const(0, 64)
            row = build.routines["code_slots"](cpu, stored - 1)
            with when(row != 0):
                tell_of_store_from(cpu, const(0, 64), row - cpu.code_table)

    @build.routine(pa=64)
    def note_store(cpu: Cpu, pa: Value) -> None:
        """The instruction in hand is going to store to a page that others execute: they are told
        when it has done so, or comes to the next such page."""
        with when(cpu.stored_code != pa + 1):
            tell_of_store(cpu)
        cpu.stored_code = pa + 1
        cpu.attend = const(1, 8)


def _emptying(build: Builder) -> None:
    at = build.layout.offsets

    @build.routine(number=64, place=64)
    def empty_other_stores(cpu: Cpu, number: Value, place: Value) -> None:
        """Empty the store TLBs of those that may have a page in them."""
        with when(number.ult(cpu.peer_count)):
            peer, row = _peer(build, cpu, number, place)
            epoch = peer + at["store_epoch"]
            entered = host_load(last_entered(build, row), 64) == host_load(epoch, 64) + 1
            with when(entered), locked(build, cpu, peer):
                host_store(epoch, host_load(epoch, 64) + 1)
                tlbs = peer + build.layout.tlb + STORE_TLB
                for tlb in range(TLBS):
                    fill(tlbs + tlb * TLB_BYTES, 0xFF, 8 * DATA_ENTRIES)
            build.routines["empty_other_stores"](cpu, number + 1, place)
