"""The MMIO transport: virtio 1.2, sections 3.1 and 4.2, as conversations over registers."""

from __future__ import annotations

import pytest

from bimetal.devices.virtio.device import TURN, VirtioDevice, Work
from bimetal.devices.virtio.queue import Chain, QueueError
from tests.devices.virtio.guest import (
    ACKNOWLEDGE,
    BASE,
    CONFIG,
    CONFIG_GENERATION,
    DEVICE_FEATURES,
    DEVICE_FEATURES_SEL,
    DEVICE_ID,
    DRIVER,
    DRIVER_OK,
    EVENT_IDX,
    FEATURES_OK,
    INDIRECT_DESC,
    INTERRUPT_ACK,
    INTERRUPT_STATUS,
    NEEDS_RESET,
    QUEUE_DESC,
    QUEUE_NOTIFY,
    QUEUE_READY,
    QUEUE_SEL,
    QUEUE_SIZE,
    QUEUE_SIZE_MAX,
    STATUS,
    VERSION_1,
    Guest,
    Used,
)
from tests.turns import Deferred


class Echo(VirtioDevice):
    """Copies what it reads into what it writes."""

    device_id = 99
    queue_limits = (16, 8)
    offered = 1 << 3

    def __init__(self) -> None:
        super().__init__()
        self.config[:] = bytes(range(8))

    def work_on(self, index: int, chain: Chain) -> Work:
        data = b"".join(chain.readable)
        written = 0
        for buffer in chain.writable:
            piece = data[written : written + len(buffer)]
            buffer[: len(piece)] = piece
            written += len(piece)
            yield len(piece)
        return written


class Slow(Echo):
    """Gives others a turn after each buffer."""

    def work_on(self, index: int, chain: Chain) -> Work:
        work = super().work_on(index, chain)
        while True:
            try:
                next(work)
            except StopIteration as end:
                return int(end.value)
            yield TURN


def test_what_a_probe_reads() -> None:
    guest = Guest(Echo())
    assert guest.read(0x000).to_bytes(4, "little") == b"virt"
    assert guest.read(0x004) == 2
    assert guest.read(DEVICE_ID) == 99
    assert guest.read(0x00C).to_bytes(4, "little") == b"QEMU"
    assert guest.read(STATUS) == 0
    assert guest.offered == VERSION_1 | INDIRECT_DESC | EVENT_IDX | 1 << 3
    guest.write(DEVICE_FEATURES_SEL, 2)
    assert guest.read(DEVICE_FEATURES) == 0
    assert guest.read(0x0B0) == guest.read(0x0B4) == 0xFFFF_FFFF, "no shared memory"


def test_an_empty_slot_answers_device_id_zero_and_survives_a_driver() -> None:
    guest = Guest(None)
    assert guest.read(0x000).to_bytes(4, "little") == b"virt"
    assert guest.read(DEVICE_ID) == 0
    assert guest.offered == 0
    assert guest.read(QUEUE_SIZE_MAX) == 0
    guest.write(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)
    guest.write(QUEUE_READY, 1)
    guest.write(QUEUE_SIZE, 4)
    guest.write(QUEUE_NOTIFY, 0)
    guest.write(STATUS, 0)
    assert guest.read(STATUS) == 0
    assert not guest.irq()


def test_initialisation_and_one_request() -> None:
    guest = Guest(Echo())
    assert guest.negotiate(VERSION_1)
    assert guest.read(STATUS) == ACKNOWLEDGE | DRIVER | FEATURES_OK
    ring = guest.set_up(0)
    assert guest.read(QUEUE_READY) == 1
    guest.go()
    answer = guest.room(8)
    head = ring.submit(guest.place(b"ping"), answer)
    assert ring.completed() == [Used(head, 4)]
    assert guest.peek(answer) == b"ping\xee\xee\xee\xee"
    assert guest.irq()
    assert guest.read(INTERRUPT_STATUS) == 1
    guest.write(INTERRUPT_ACK, 1)
    assert not guest.irq()
    assert guest.read(INTERRUPT_STATUS) == 0


def test_queues_have_their_own_sizes() -> None:
    guest = Guest(Echo())
    sizes = []
    for index in range(3):
        guest.write(QUEUE_SEL, index)
        sizes.append(guest.read(QUEUE_SIZE_MAX))
    assert sizes == [16, 8, 0]
    guest.write(QUEUE_SEL, 0xFFFF_FFFF)
    assert guest.read(QUEUE_READY) == 0


def test_features_that_were_not_offered_are_refused() -> None:
    guest = Guest(Echo())
    assert not guest.negotiate(VERSION_1 | 1 << 5)
    assert guest.read(STATUS) == ACKNOWLEDGE | DRIVER
    assert guest.negotiate(VERSION_1 | 1 << 3), "and a second try may be right"


def test_a_driver_without_version_1_is_let_in_and_noted() -> None:
    device = Echo()
    guest = Guest(device)
    assert guest.negotiate(0)
    assert sum(device.events.counts.values()) == 1


def test_features_are_settled_by_features_ok() -> None:
    device = Echo()
    guest = Guest(device)
    guest.start(VERSION_1)
    guest.write(0x024, 0)
    guest.write(0x020, 1 << 3)
    assert device.features == VERSION_1
    guest.write(0x024, 7)
    guest.write(0x020, 1)
    assert device.features == VERSION_1


def test_status_bits_are_cleared_by_a_reset_only() -> None:
    guest = Guest(Echo())
    ring, _ = guest.start(queues=2, size=8)
    guest.write(STATUS, ACKNOWLEDGE)
    assert guest.read(STATUS) == ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK
    ring.submit(guest.place(b"x"))
    assert guest.irq()
    guest.write(STATUS, 0)
    assert guest.read(STATUS) == 0
    assert not guest.irq()
    for index in range(2):
        guest.write(QUEUE_SEL, index)
        assert guest.read(QUEUE_READY) == 0


def test_nothing_is_taken_before_driver_ok_and_all_of_it_after() -> None:
    guest = Guest(Echo())
    guest.negotiate(VERSION_1)
    ring = guest.set_up(0)
    ring.submit(guest.place(b"early"))
    assert ring.completed() == []
    guest.go()
    assert len(ring.completed()) == 1


def test_a_queue_in_use_cannot_be_moved() -> None:
    guest = Guest(Echo())
    (ring,) = guest.start()
    guest.write(QUEUE_DESC, 0x1000)
    guest.write(QUEUE_SIZE, 4)
    ring.submit(guest.place(b"x"))
    assert len(ring.completed()) == 1


def test_a_disabled_queue_is_left_alone() -> None:
    guest = Guest(Echo())
    (ring,) = guest.start()
    guest.write(QUEUE_READY, 0)
    assert guest.read(QUEUE_READY) == 0
    ring.submit(guest.place(b"x"))
    assert ring.completed() == []


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (QUEUE_DESC, BASE + 8),
        (QUEUE_DESC, 0x1000),
        (QUEUE_DESC + 4, 0xFFFF_FFFF),
        (QUEUE_SIZE, 0),
        (QUEUE_SIZE, 12),
        (QUEUE_SIZE, 32),
        (QUEUE_SIZE, 0xFFFF_FFFF),
    ],
)
def test_a_queue_that_cannot_be_asks_for_a_reset(offset: int, value: int) -> None:
    guest = Guest(Echo())
    guest.negotiate(VERSION_1)
    guest.set_up(0)
    guest.write(QUEUE_READY, 0)
    guest.write(offset, value)
    guest.write(QUEUE_READY, 1)
    assert guest.read(QUEUE_READY) == 0
    assert guest.read(STATUS) & NEEDS_RESET
    (ring,) = guest.start()
    ring.submit(guest.place(b"x"))
    assert len(ring.completed()) == 1, "after the reset all is well"


def test_a_broken_queue_stops_the_device_and_interrupts() -> None:
    guest = Guest(Echo())
    (ring,) = guest.start()
    ring.offer(99)
    ring.notify()
    assert guest.read(STATUS) & NEEDS_RESET
    assert guest.read(INTERRUPT_STATUS) == 2
    assert guest.irq()
    ring.submit(guest.place(b"x"))
    assert ring.completed() == []


def test_the_configuration_is_read_in_any_size_and_guards_its_end() -> None:
    device = Echo()
    guest = Guest(device)
    assert guest.read(CONFIG, 8) == 0x0706_0504_0302_0100
    assert guest.read(CONFIG + 3, 1) == 3
    assert guest.read(CONFIG + 4, 4) == 0x0706_0504
    assert guest.read(CONFIG + 6, 4) == 0xFFFF_FFFF, "not wholly inside"
    assert guest.read(CONFIG + 0xF8, 2) == 0xFFFF
    guest.write(CONFIG, 1, 1)
    assert guest.read(CONFIG, 1) == 0
    assert device.events.counts["guest error: write to the read-only configuration"] == 1


@pytest.mark.parametrize(("offset", "size"), [(0, 1), (0, 2), (2, 2), (0x70, 1), (0x50, 2), (1, 4)])
def test_registers_are_accessed_by_whole_words_only(offset: int, size: int) -> None:
    guest = Guest(Echo())
    guest.negotiate(VERSION_1)
    before = guest.slot.save()
    assert guest.read(offset, size) == 0
    guest.write(offset, 0, size)
    assert guest.slot.save() == before
    assert sum(guest.slot.events.counts.values()) == 2


def test_a_change_of_configuration_is_announced() -> None:
    device = Echo()
    guest = Guest(device)
    device.config_changed()
    assert not guest.irq(), "nobody listens yet"
    guest.start()
    before = guest.read(CONFIG_GENERATION)
    device.config_changed()
    assert guest.read(CONFIG_GENERATION) != before
    assert guest.read(INTERRUPT_STATUS) == 2


def test_a_notification_of_no_queue_is_a_guest_error() -> None:
    guest = Guest(Echo())
    guest.start()
    guest.write(QUEUE_NOTIFY, 7)
    assert sum(guest.slot.events.counts.values()) == 1


def in_turns(device: VirtioDevice) -> tuple[Guest, Deferred]:
    """A guest with ``device``, and the turns that it asks the machine for."""
    deferred = Deferred()
    guest = Guest(device)
    device.plug(guest.slot, guest.space, deferred)
    return guest, deferred


def test_a_flood_of_requests_gives_way_to_others() -> None:
    device = Echo()
    guest, deferred = in_turns(device)
    (ring,) = guest.start(size=16)
    original = device.work_on

    def flooding(index: int, chain: Chain) -> Work:
        ring.offer(chain.head)  # the driver on another CPU is quicker than we are
        return original(index, chain)

    device.work_on = flooding  # type: ignore[method-assign]
    ring.submit(guest.place(b"again"))
    assert len(deferred) == 1
    assert guest.irq()
    device.work_on = original  # type: ignore[method-assign]
    deferred.pop()()
    assert deferred == []
    assert len(ring.completed()) == ring.added


def test_a_request_may_take_several_turns_and_keeps_its_place() -> None:
    guest, deferred = in_turns(Slow())
    (ring,) = guest.start()
    places = [guest.room(1) for _ in range(3)]
    first = ring.submit(guest.place(b"abc"), *places)
    second = ring.submit(guest.place(b"d"), place := guest.room(1))
    assert ring.completed() == []
    for seen in (b"a\xee\xee", b"ab\xee", b"abc"):
        assert b"".join(map(guest.peek, places)) == seen
        assert len(deferred) == 1, "however often the driver notifies"
        deferred.pop()()
    assert ring.completed() == [Used(first, 3)]
    assert guest.peek(place) == b"d"
    deferred.pop()()
    assert ring.completed() == [Used(second, 1)]
    assert deferred == []


@pytest.mark.parametrize("how", ["reset", "queue", "broken"])
def test_a_request_between_two_turns_is_given_up_with_its_queue(how: str) -> None:
    guest, deferred = in_turns(Slow())
    (old,) = guest.start()
    place = guest.room(1)
    old.submit(guest.place(b"xy"), place, second := guest.room(1))
    if how == "reset":
        guest.write(STATUS, 0)
    elif how == "queue":
        guest.write(QUEUE_SEL, 0)
        guest.write(QUEUE_READY, 0)
    else:
        guest.slot.device.fail(QueueError("by another queue"))
    deferred.pop()()
    assert (guest.peek(place), guest.peek(second)) == (b"x", b"\xee")
    assert old.completed() == []
    (ring,) = guest.start()
    head = ring.submit(guest.place(b"new"), guest.room(3))
    while deferred:
        deferred.pop()()
    assert ring.completed() == [Used(head, 3)]
    assert guest.peek(second) == b"\xee"


def test_memory_may_go_while_a_request_is_under_way() -> None:
    guest, _ = in_turns(Slow())
    (ring,) = guest.start()
    ring.submit(guest.place(b"xy"), guest.room(1), guest.room(1))
    guest.slot.close()
    guest.ram.close()
    with pytest.raises(ValueError, match="closed"):
        guest.ram.clear()


def test_a_request_under_way_is_done_anew_after_a_snapshot() -> None:
    guest, _ = in_turns(Slow())
    (ring,) = guest.start()
    place, second = guest.room(1), guest.room(1)
    head = ring.submit(guest.place(b"xy"), place, second)
    state, memory = guest.slot.save(), bytes(guest.ram.bytes)
    restored, deferred = in_turns(Slow())
    restored.ram.bytes[:] = memory
    restored.slot.load(state)
    while deferred:
        deferred.pop(0)()
    ring.guest = restored
    assert ring.completed() == [Used(head, 2)]
    assert restored.peek(place) + restored.peek(second) == b"xy"


def test_state_survives_a_snapshot() -> None:
    guest = Guest(Echo())
    ring, _ = guest.start(EVENT_IDX | INDIRECT_DESC, queues=2, size=8)
    for _ in range(3):
        ring.submit(guest.place(b"x"))
    state = guest.slot.save()
    memory = bytes(guest.ram.bytes)

    restored = Guest(Echo())
    restored.ram.bytes[:] = memory
    restored.slot.load(state)
    assert restored.irq()
    assert restored.slot.save() == state
    ring.guest, restored._next = restored, guest._next
    ring.completed()
    head = ring.indirect(restored.place(b"y"))
    ring.offer(head)
    ring.notify()
    assert ring.completed() == [Used(head, 0)]


def test_memory_that_moves_is_found_again() -> None:
    guest = Guest(Echo())
    (ring,) = guest.start()
    ring.submit(guest.place(b"x"))
    region = guest.space.regions[0]
    guest.space.set_direct(region, False)
    ring.notify()
    assert guest.read(STATUS) & NEEDS_RESET
    guest.space.set_direct(region, True)
    (ring,) = guest.start()
    ring.submit(guest.place(b"x"))
    assert len(ring.completed()) == 1


def test_who_asks_for_the_version_alone_may_want_another_one() -> None:
    device = Echo()
    guest = Guest(device)
    guest.read(0x004)
    guest.slot.close()
    (said,) = device.events.counts
    assert "virtio-mmio=legacy" in said
    for asked in ((0x000,), (0x004, DEVICE_ID)):
        device = Echo()
        guest = Guest(device)
        for offset in asked:
            guest.read(offset)
        guest.slot.close()
        assert not device.events.counts
    guest = Guest(None)
    guest.read(0x004)
    guest.slot.close()
    assert not guest.slot.events.counts, "nothing is there to be driven"
