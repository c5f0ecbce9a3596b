"""The split virtqueue: virtio 1.2, section 2.7."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.devices.virtio.guest import (
    BASE,
    EVENT_IDX,
    INDIRECT,
    INDIRECT_DESC,
    INTERRUPT_ACK,
    NEEDS_RESET,
    NEXT,
    SIZE,
    STATUS,
    WRITE,
    Guest,
    Ring,
    Used,
)
from tests.devices.virtio.test_mmio import Echo


def start(features: int = 0, size: int = 16) -> tuple[Guest, Ring]:
    guest = Guest(Echo())
    (ring,) = guest.start(features, size=size)
    return guest, ring


def test_chains_are_gathered_and_scattered_over_all_their_buffers() -> None:
    guest, ring = start()
    places = [guest.room(3), guest.room(1), guest.room(4)]
    head = ring.submit(guest.place(b"ab"), guest.place(b"cdef"), *places)
    assert ring.completed() == [Used(head, 6)]
    assert [guest.peek(place) for place in places] == [b"abc", b"d", b"ef\xee\xee"]


def test_empty_buffers_are_passed_over_wherever_they_point() -> None:
    guest, ring = start()
    answer = guest.room(2)
    ring.submit((0xDEAD_0000, 0, 0), guest.place(b"ok"), (0xDEAD_0000, 0, WRITE), answer)
    assert guest.peek(answer) == b"ok"


def test_indexes_wrap_around() -> None:
    guest, ring = start(size=4)
    ring.added = ring.taken = 0
    data = guest.place(b"x")
    slot = ring.chain(data)
    for _ in range(0x1_0005):
        ring.offer(slot)
        ring.notify()
        ring.taken = ring.added
    assert ring.added == 5
    assert not guest.read(STATUS) & NEEDS_RESET
    ring.offer(slot)
    ring.notify()
    assert ring.completed() == [Used(slot, 0)]


@pytest.mark.parametrize("before", [0, 2])
def test_an_indirect_table_may_end_a_chain(before: int) -> None:
    guest, ring = start(INDIRECT_DESC)
    answer = guest.room(8)
    inner = [guest.place(b"in"), guest.place(b"direct")[:2] + (0,), answer]
    head = ring.indirect(*inner)
    if before:
        outer = [guest.place(b"-") for _ in range(before)]
        first = ring.chain(*outer)
        ring.describe(first + before - 1, outer[-1][0], 1, NEXT, head)
        head = first
    ring.offer(head)
    ring.notify()
    assert guest.peek(answer) == (b"-" * before + b"indirect")[:8]


def test_an_indirect_table_may_be_longer_than_the_queue() -> None:
    guest, ring = start(INDIRECT_DESC, size=4)
    answer = guest.room(64)
    head = ring.indirect(*[guest.place(bytes([n])) for n in range(64)], answer)
    ring.offer(head)
    ring.notify()
    assert guest.peek(answer) == bytes(range(64))


# What a driver may not do. Each breaks one rule in a queue of 16 entries.


def loop(ring: Ring, data: int) -> None:
    ring.describe(0, data, 1, NEXT, 1)
    ring.describe(1, data, 1, NEXT, 0)
    ring.offer(0)


def self_loop(ring: Ring, data: int) -> None:
    ring.describe(0, data, 0, NEXT, 0)
    ring.offer(0)


def next_outside(ring: Ring, data: int) -> None:
    ring.describe(0, data, 1, NEXT, 16)
    ring.offer(0)


def head_outside(ring: Ring, data: int) -> None:
    ring.offer(16)


def read_after_write(ring: Ring, data: int) -> None:
    ring.describe(0, data, 1, NEXT | WRITE, 1)
    ring.describe(1, data, 1, 0)
    ring.offer(0)


def outside_memory(ring: Ring, data: int) -> None:
    ring.describe(0, BASE - 1, 2, 0)
    ring.offer(0)


def across_the_end(ring: Ring, data: int) -> None:
    ring.describe(0, BASE + SIZE - 1, 2, WRITE)
    ring.offer(0)


def around_the_world(ring: Ring, data: int) -> None:
    ring.describe(0, 2**64 - 1, 2**32 - 1, 0)
    ring.offer(0)


def more_than_4_gib(ring: Ring, data: int) -> None:
    ring.describe(0, BASE, 0xFFFF_FFFF, NEXT, 0)
    ring.offer(0)


def index_runs_ahead(ring: Ring, data: int) -> None:
    ring.describe(0, data, 1, 0)
    ring.added = 16
    ring.offer(0)


def indirect_with_next(ring: Ring, data: int) -> None:
    ring.describe(0, data, 16, INDIRECT | NEXT, 1)
    ring.offer(0)


def indirect_in_indirect(ring: Ring, data: int) -> None:
    ring.offer(ring.indirect((data, 16, INDIRECT)))


def indirect_of_nothing(ring: Ring, data: int) -> None:
    ring.describe(0, data, 0, INDIRECT)
    ring.offer(0)


def indirect_of_odd_length(ring: Ring, data: int) -> None:
    ring.describe(0, data, 17, INDIRECT)
    ring.offer(0)


def indirect_too_long(ring: Ring, data: int) -> None:
    ring.describe(0, BASE, 16 * 1025, INDIRECT)
    ring.offer(0)


def indirect_outside_memory(ring: Ring, data: int) -> None:
    ring.describe(0, BASE + SIZE - 16, 32, INDIRECT)
    ring.offer(0)


def indirect_loop(ring: Ring, data: int) -> None:
    table = ring.guest.allocate(32)
    entry = bytes.fromhex("00000080000000000100000001000000")
    ring.guest.space.write(table, entry)
    ring.describe(0, table, 32, INDIRECT)
    ring.offer(0)


def indirect_next_outside(ring: Ring, data: int) -> None:
    table = ring.guest.allocate(16)
    entry = bytes.fromhex("00000080000000000100000001000100")
    ring.guest.space.write(table, entry)
    ring.describe(0, table, 16, INDIRECT)
    ring.offer(0)


@pytest.mark.parametrize(
    "breach",
    [
        loop,
        self_loop,
        next_outside,
        head_outside,
        read_after_write,
        outside_memory,
        across_the_end,
        around_the_world,
        more_than_4_gib,
        index_runs_ahead,
        indirect_with_next,
        indirect_in_indirect,
        indirect_of_nothing,
        indirect_of_odd_length,
        indirect_too_long,
        indirect_outside_memory,
        indirect_loop,
        indirect_next_outside,
    ],
)
def test_a_breach_asks_for_a_reset_and_counts(breach: Callable[[Ring, int], None]) -> None:
    guest, ring = start(INDIRECT_DESC)
    data = guest.place(bytes(64))[0]
    breach(ring, data)
    ring.notify()
    assert guest.read(STATUS) & NEEDS_RESET
    assert ring.completed() == []
    assert sum(guest.slot.device.events.counts.values()) == 1


def test_indirect_tables_need_the_feature() -> None:
    guest, ring = start()
    ring.offer(ring.indirect(guest.place(b"x")))
    ring.notify()
    assert guest.read(STATUS) & NEEDS_RESET


def test_requests_before_a_breach_are_answered() -> None:
    guest, ring = start()
    good = ring.chain(guest.place(b"x"))
    ring.offer(good)
    ring.offer(77)
    ring.notify()
    assert ring.completed() == [Used(good, 0)]
    assert guest.read(STATUS) & NEEDS_RESET


# Interrupts and notifications


def test_without_event_indexes_a_flag_holds_interrupts_back() -> None:
    guest, ring = start()
    guest.space.write(ring.available, b"\1\0")
    ring.submit(guest.place(b"x"))
    assert len(ring.completed()) == 1
    assert not guest.irq()
    guest.space.write(ring.available, b"\0\0")
    ring.submit(guest.place(b"x"))
    assert guest.irq()


def test_one_interrupt_tells_of_a_whole_batch() -> None:
    guest, ring = start()
    for _ in range(5):
        ring.offer(ring.chain(guest.place(b"x")))
    ring.notify()
    assert len(ring.completed()) == 5
    assert guest.interrupts == 1


def test_used_event_says_after_which_request_to_interrupt() -> None:
    guest, ring = start(EVENT_IDX)
    ring.want_interrupt_after(2)
    heard = []
    for _ in range(5):
        ring.submit(guest.place(b"x"))
        heard.append(guest.irq())
        guest.write(INTERRUPT_ACK, 1)
    assert heard == [False, False, True, False, False]
    ring.want_interrupt_after(5)
    for _ in range(3):
        ring.offer(ring.chain(guest.place(b"x")))
    ring.notify()
    assert guest.irq(), "the index went past the event inside a batch"


def test_avail_event_asks_for_the_next_request() -> None:
    guest, ring = start(EVENT_IDX)
    assert ring.avail_event == 0
    for count in range(1, 4):
        ring.submit(guest.place(b"x"))
        assert ring.avail_event == count


def test_a_request_added_while_the_device_rearms_is_not_lost() -> None:
    guest, ring = start(EVENT_IDX)
    late = ring.chain(guest.place(b"late"))
    queue = guest.slot.device.queues[0]
    rearm = queue.rearm

    def racing() -> bool:
        if ring.added == 1:
            ring.offer(late)  # no notification: the driver still sees the old event index
        return rearm()

    queue.rearm = racing  # type: ignore[method-assign]
    ring.submit(guest.place(b"x"))
    assert [used.head for used in ring.completed()][1:] == [late]
