"""Invalidations of translations and code that vCPUs ask of each other, within native code.

Each vCPU has a box. Others post to it what the vCPU is to forget, and go on; the vCPU looks into
its box at every poll, and when it enters native code before it executes anything. A vCPU that has
posted and has to know that it is done (DSB) waits until every vCPU that was in native code has
looked, because until then one may be in the middle of an access with the old translation; meanwhile
it serves its own box. A vCPU outside native code accesses nothing, unless it is waiting for a
device's answer: then the board is asked to bring the others to their gates.

For pages, vCPUs outside native code are told only if their TLBs may hold them: a vCPU that enters
later reads the tables as they are by then.
"""

from __future__ import annotations

from ..ir.requests import REASONS
from ..ir.value import Value, const
from ..isa.trace import Cpu, ret, when
from .builder import Builder, count, exchange, host_load, host_store, state_address
from .layout import MESSAGE_WORDS, MESSAGES, TLBS
from .tlb_pool import in_question

__all__ = ["HEARD", "NOT_YET", "WITH_DEVICE", "describe_messages"]

NOT_YET, HEARD, WITH_DEVICE = range(3)
ROW = 16
"""Bytes of a row of ``peers``: the address of another vCPU's state, and how many messages its box
had been sent by all vCPUs when this one posted last."""


def describe_messages(build: Builder) -> None:
    """Describe all routines of boxes."""
    _putting(build)
    _telling(build)
    _taking(build)
    _hearing(build)


def _putting(build: Builder) -> None:
    at = build.layout.offsets

    @build.routine(returns=1, peer=64, va=64, mask=64, match=64, own=64)
    def may_know(cpu: Cpu, peer: Value, va: Value, mask: Value, match: Value, own: Value) -> Value:
        """Whether a TLB of a vCPU outside native code may hold what is to be forgotten."""
        for n in range(TLBS):
            owner = host_load(peer + at["tlb_owner"] + 8 * n, 64)
            halves = host_load(peer + at["tlb_globals"] + n, 8)
            with when(in_question(owner, halves, va, mask, match, own)):
                ret(const(1, 1))
        return const(0, 1)

    @build.routine(peer=64, va=64, pages=64, mask=64, match=64, own=64)
    def put(
        cpu: Cpu, peer: Value, va: Value, pages: Value, mask: Value, match: Value, own: Value
    ) -> None:
        """Put a message into a box, or extend the last one. A full box means: forget everything."""
        number = host_load(peer + at["box_count"], 64)
        last = peer + at["box"] + (number - 1) * (8 * MESSAGE_WORDS)
        with when((number - 1).ult(MESSAGES) & (pages != 0)):
            before = host_load(last + 8, 64)
            # Each half of the addresses has its own, as `in_question` asks about one half.
            same = (host_load(last, 64) + (before << 12) == va) & (before != 0) & (va << 1 != 0)
            for n, word in enumerate((mask, match, own), 2):
                same = same & (host_load(last + 8 * n, 64) == word)
            with when(same):
                host_store(last + 8, before + pages)
                ret()
        with when(number.ult(MESSAGES)):
            for n, word in enumerate((va, pages, mask, match, own), MESSAGE_WORDS):
                host_store(last + 8 * n, word)
        host_store(peer + at["box_count"], number + 1)

    @build.routine(row=64)
    def posted(cpu: Cpu, row: Value) -> None:
        """Count a message to the peer of a row, in its box and in the row."""
        place = host_load(row, 64) + at["box_posted"]
        number = host_load(place, 64) + 1
        host_store(place, number)
        host_store(row + 8, number)


def _telling(build: Builder) -> None:
    at = build.layout.offsets
    may_know, put, posted = (build.routines[name] for name in ("may_know", "put", "posted"))

    @build.routine(row=64, va=64, pages=64, mask=64, match=64, own=64)
    def tell_peer(
        cpu: Cpu, row: Value, va: Value, pages: Value, mask: Value, match: Value, own: Value
    ) -> None:
        """`tell_pages` for a single peer."""
        peer = host_load(row, 64)
        cpu.host("lock", 0, peer + at["box_lock"])  # a full fence too: earlier stores are visible
        inside = host_load(peer + at["inside"], 64) != 0
        with when(inside | (may_know(cpu, peer, va, mask, match, own) == 1)):
            put(cpu, peer, va, pages, mask, match, own)
            posted(cpu, row)
        exchange(peer + at["box_lock"], const(0, 64))

    @build.routine(row=64)
    def tell_peer_of_code(cpu: Cpu, row: Value) -> None:
        """`tell_code` for a single peer."""
        peer = host_load(row, 64)
        cpu.host("lock", 0, peer + at["box_lock"])
        host_store(peer + at["box_code"], const(1, 64))
        posted(cpu, row)
        exchange(peer + at["box_lock"], const(0, 64))

    @build.routine(number=64, va=64, pages=64, mask=64, match=64, own=64)
    def tell_from(
        cpu: Cpu, number: Value, va: Value, pages: Value, mask: Value, match: Value, own: Value
    ) -> None:
        with when(number.ult(cpu.peer_count)):
            tell_peer(cpu, cpu.peers + number * ROW, va, pages, mask, match, own)
            tell_from(cpu, number + 1, va, pages, mask, match, own)

    @build.routine(va=64, pages=64, mask=64, match=64, own=64)
    def tell_pages(
        cpu: Cpu, va: Value, pages: Value, mask: Value, match: Value, own: Value
    ) -> None:
        """Have all other vCPUs do `flush_pages`; with no pages, `flush_spaces`."""
        tell_from(cpu, const(0, 64), va, pages, mask, match, own)

    @build.routine(number=64)
    def tell_of_code_from(cpu: Cpu, number: Value) -> None:
        with when(number.ult(cpu.peer_count)):
            tell_peer_of_code(cpu, cpu.peers + number * ROW)
            tell_of_code_from(cpu, number + 1)

    @build.routine()
    def tell_code(cpu: Cpu) -> None:
        """Have all other vCPUs do `fence_code`."""
        tell_of_code_from(cpu, const(0, 64))


def _taking(build: Builder) -> None:
    flush, flush_pages = build.routines["flush"], build.routines["flush_pages"]
    flush_spaces, fence_code = build.routines["flush_spaces"], build.routines["fence_code"]

    @build.routine(message=64)
    def obey(cpu: Cpu, message: Value) -> None:
        """Forget what a message names."""
        va, pages, mask, match, own = (host_load(message + 8 * n, 64) for n in range(5))
        with when(pages == 0) as spaces:
            flush_spaces(cpu, mask, match)
            with spaces.otherwise():
                flush_pages(cpu, va, pages, mask, match, own)

    @build.routine()
    def empty_box(cpu: Cpu) -> None:
        """Carry out and remove everything in this vCPU's box."""
        lock = state_address("box_lock")
        cpu.host("lock", 0, lock)
        number = cpu.box_count
        with when(const(MESSAGES, 64).ult(number)) as many:
            flush(cpu)
            with many.otherwise():
                for n in range(MESSAGES):
                    with when(const(n, 64).ult(number)):
                        obey(cpu, state_address("box") + 8 * MESSAGE_WORDS * n)
        with when(cpu.box_code != 0):
            fence_code(cpu)
        cpu.box_count = cpu.box_code = const(0, 64)
        cpu.box_taken = host_load(state_address("box_posted"), 64)
        exchange(lock, const(0, 64))
        count(cpu, "boxes emptied")

    @build.routine()
    def look_into_box(cpu: Cpu) -> None:
        """Empty this vCPU's box if there is anything in it."""
        with when(cpu.box_posted != cpu.box_taken):
            empty_box(cpu)


def _hearing(build: Builder) -> None:
    at = build.layout.offsets

    @build.routine(returns=8, number=64)
    def heard_from(cpu: Cpu, number: Value) -> Value:
        """Whether the peer with this number and all later ones have done what they were told."""
        with when(number.uge(cpu.peer_count)):
            ret(const(HEARD, 8))
        row = cpu.peers + number * ROW
        peer = host_load(row, 64)
        inside = host_load(peer + at["inside"], 64) != 0
        cpu.fence(full=False)
        waits = host_load(peer + at["box_taken"], 64).ult(host_load(row + 8, 64))
        with when(inside & waits):
            ret(const(NOT_YET, 8))
        with when(~inside & (host_load(peer + at["leave_reason"], 64) == REASONS.index("mmio"))):
            ret(const(WITH_DEVICE, 8))
        return heard_from(cpu, number + 1)
