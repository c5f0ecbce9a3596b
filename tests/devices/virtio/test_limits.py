"""Several queues of a disk, and limits of what it does in a second."""

from __future__ import annotations

import struct

import pytest

from bimetal.backends.block.memory import MemoryDisk
from bimetal.base.clock import VirtualClock
from bimetal.devices.virtio.block import VirtioBlock
from bimetal.devices.virtio.limits import QUEUES_LIMIT
from bimetal.devices.virtio.throttle import Throttle
from tests.devices.virtio.guest import CONFIG, EVENT_IDX, Guest, Ring

MQ = 1 << 12
SECOND = 10**9


def request(guest: Guest, ring: Ring, sector: int, length: int = 512) -> tuple[int, int, int]:
    """Offer a read, and tell the device; the place for the data."""
    place = guest.room(length)
    header = guest.place(struct.pack("<IIQ", 0, 0, sector))
    ring.submit(header, place, guest.room(1))
    return place


def test_each_queue_answers_its_own_requests() -> None:
    content = bytes(n for n in range(4) for _ in range(512))
    guest = Guest(VirtioBlock(MemoryDisk(content), queues=4))
    assert guest.offered & MQ
    assert guest.read(CONFIG + 34, 2) == 4
    rings = guest.start(MQ, queues=4)
    places = [request(guest, ring, sector) for sector, ring in enumerate(rings)]
    for sector, (ring, place) in enumerate(zip(rings, places, strict=True)):
        assert len(ring.completed()) == 1
        assert guest.peek(place) == bytes((sector,)) * 512


def test_one_queue_is_no_feature() -> None:
    assert not Guest(VirtioBlock(MemoryDisk(512))).offered & MQ


@pytest.mark.parametrize("queues", [0, QUEUES_LIMIT + 1])
def test_numbers_of_queues(queues: int) -> None:
    with pytest.raises(ValueError, match="queues"):
        VirtioBlock(MemoryDisk(512), queues=queues)


def answered(clock: VirtualClock, rings: list[Ring], seconds: float) -> int:
    """How many requests are answered in that time."""
    count = 0
    for _ in range(int(seconds * 1000)):
        clock.advance(SECOND // 1000)
        count += sum(len(ring.completed()) for ring in rings)
    return count


@pytest.mark.parametrize("features", [0, EVENT_IDX])
def test_requests_in_a_second(features: int) -> None:
    clock = VirtualClock()
    throttle = Throttle(clock, requests=100)
    guest = Guest(VirtioBlock(MemoryDisk(1 << 20), queues=2, throttle=throttle))
    rings = guest.start(MQ | features, queues=2, size=256)
    for sector in range(80):
        for ring in rings:
            request(guest, ring, sector)
    counts = [answered(clock, rings, seconds) for seconds in (0.001, 1, 1, 1)]
    assert counts[0] in range(10, 13), "a tenth of a second's ahead"
    assert counts[1] in range(99, 102)
    assert sum(counts) == 160


def test_bytes_in_a_second() -> None:
    clock = VirtualClock()
    throttle = Throttle(clock, bytes=1 << 20)
    guest = Guest(VirtioBlock(MemoryDisk(1 << 20), throttle=throttle))
    rings = guest.start(size=64)
    for n in range(16):
        request(guest, rings[0], 128 * (n % 8), 32 << 10)
    assert answered(clock, rings, 0.001) in range(4, 6)
    assert answered(clock, rings, 0.25) in range(7, 10)


def test_a_request_longer_than_a_second_is_carried_out_at_once_and_then_waited_for() -> None:
    clock = VirtualClock()
    guest = Guest(VirtioBlock(MemoryDisk(1 << 20), throttle=Throttle(clock, bytes=4096)))
    (ring,) = guest.start()
    request(guest, ring, 0, 8192)
    request(guest, ring, 0)
    assert len(ring.completed()) == 1
    assert answered(clock, [ring], 1.8) == 0
    assert answered(clock, [ring], 0.3) == 1


def test_what_is_owed_survives_a_snapshot() -> None:
    clock = VirtualClock()
    guest = Guest(VirtioBlock(MemoryDisk(1 << 20), throttle=Throttle(clock, requests=1)))
    (ring,) = guest.start()
    for _ in range(2):
        request(guest, ring, 0)
    assert len(ring.completed()) == 1
    other = Guest(VirtioBlock(MemoryDisk(1 << 20), throttle=Throttle(clock, requests=1)))
    other.ram.bytes[:] = bytes(guest.ram.bytes)
    other.slot.load(guest.slot.save())
    ring.guest = other
    assert answered(clock, [ring], 0.8) == 0
    assert answered(clock, [ring], 0.2) == 1
