"""Hostile drivers: whatever a guest does to a virtio device, by whatever transport, only the guest
may suffer.

Nothing raises, nothing is touched outside of the guest's RAM, a broken device stays silent until
its reset, and after a reset it is as new and does its work. ``-m slow`` plays a thousand of each.
"""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.devices.virtio.guest import BASE, NEEDS_RESET, NEXT, WRITE, Ring
from tests.fuzz.virtio.carriers import ARENA, CARRIERS, Carrier
from tests.fuzz.virtio.devices import DEVICES
from tests.fuzz.virtio.hostile import HISTORIES, MESSAGES, ROUNDS, long, quick

EVERYWHERE = [(kind, way) for kind in DEVICES for way in CARRIERS]


def put_into_ring(carrier: Carrier, ring: Ring, contents: tuple[bytes, bytes, bytes]) -> None:
    """Fill the arena, the table and the available ring of a queue."""
    space = carrier.guest.space
    for address, data in zip((ring.descriptors, ARENA, ring.available), contents, strict=True):
        space.write(address, data)


def ask(carrier: Carrier, ring: Ring, message: bytes, room: list[tuple[int, bool]]) -> None:
    """Make a well-formed request, in the entries that happen to be next."""
    space, at = carrier.guest.space, ARENA + 0x1000
    buffers = [(len(message), False), *room][: ring.size]
    for place, (length, written) in enumerate(buffers):
        last = place == len(buffers) - 1
        ring.describe(place, at, length, WRITE * written | (0 if last else NEXT), place + 1)
        at += length
    space.write(ARENA + 0x1000, message)
    (index,) = struct.unpack("<H", space.read(ring.available + 2, 2))
    space.write(ring.available + 4 + 2 * (index % ring.size), bytes(2))
    space.write(ring.available + 2, struct.pack("<H", index + 1 & 0xFFFF))


class Play:
    """A history that is being played."""

    def __init__(self, carrier: Carrier):
        self.carrier = carrier
        self.rings: list[Ring] = []

    def do(self, step: tuple[Any, ...]) -> None:
        """One thing that happens."""
        carrier, queues = self.carrier, len(self.carrier.device.queues)
        match step:
            case "start", int(features), int(size):
                self.rings = carrier.start(features, size)
            case "ask", int(queue), bytes(message), list(room) if self.rings:
                ask(carrier, self.rings[queue % queues], message, room)
                carrier.notify(queue % queues)
            case "ring", int(queue), tuple(contents) if self.rings:
                put_into_ring(carrier, self.rings[queue % queues], contents)
                carrier.notify(queue % queues)
            case "put", int(features), int(queue), int(size), tuple(addresses):
                carrier.begin(features)
                carrier.put(queue % queues, size, addresses)
                carrier.go()
                carrier.notify(queue % queues)
            case "write", int(place), int(offset), int(size), int(value):
                carrier.access(place, offset, size, value)
            case "read", int(place), int(offset), int(size):
                assert 0 <= carrier.access(place, offset, size) < 1 << 8 * size
            case "notify", int(queue):
                carrier.notify(queue)
            case ("stir",):
                carrier.outside.stir()
            case ("turn",):
                carrier.settle()
            case ("restart",):
                carrier.restart()
            case ("reload",):
                carrier.reload()
        carrier.check()


def play_history(kind: str, way: str, history: list[tuple[Any, ...]], deferred: bool) -> None:
    carrier = CARRIERS[way](kind, deferred)
    play = Play(carrier)
    for step in history:
        play.do(step)
    carrier.check_new()
    carrier.check()


@pytest.mark.parametrize(("kind", "way"), EVERYWHERE)
@quick
@given(history=HISTORIES, deferred=st.booleans())
def test_whatever_a_guest_does(
    kind: str, way: str, history: list[tuple[Any, ...]], deferred: bool
) -> None:
    play_history(kind, way, history, deferred)


def test_a_queue_that_was_overfilled_unseen_is_seen_when_the_machine_is_loaded() -> None:
    everything = (1 << 64) - 1
    history: list[tuple[Any, ...]] = [
        ("start", everything, 1),
        ("ask", 0, bytes(16), []),
        ("ask", 0, b"", []),
        ("reload",),
    ]
    play_history("net", "mmio-legacy", history, deferred=False)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "way"), EVERYWHERE)
@long
@given(history=HISTORIES, deferred=st.booleans())
def test_whatever_a_guest_does_at_length(
    kind: str, way: str, history: list[tuple[Any, ...]], deferred: bool
) -> None:
    play_history(kind, way, history, deferred)


def play_rounds(kind: str, way: str, rounds: list[tuple[bytes, bytes, bytes]], queue: int) -> None:
    carrier = CARRIERS[way](kind)
    rings, ram = carrier.start(), carrier.guest.ram
    ring = rings[queue % len(rings)]
    for contents in rounds:
        broken = bool(carrier.status & NEEDS_RESET)
        put_into_ring(carrier, ring, contents)
        before = bytes(ram.bytes)
        carrier.notify(ring.index)
        carrier.outside.stir()
        carrier.settle()
        carrier.check()
        if broken:
            assert ram.bytes == before, "a broken device wrote to memory"
            assert carrier.status & NEEDS_RESET, "a broken device recovered by itself"
    carrier.check_new()


@pytest.mark.parametrize(("kind", "way"), EVERYWHERE)
@quick
@given(rounds=ROUNDS, queue=st.integers(0, 5))
def test_a_broken_device_is_silent(
    kind: str, way: str, rounds: list[tuple[bytes, bytes, bytes]], queue: int
) -> None:
    play_rounds(kind, way, rounds, queue)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "way"), EVERYWHERE)
@long
@given(rounds=ROUNDS, queue=st.integers(0, 5))
def test_a_broken_device_is_silent_at_length(
    kind: str, way: str, rounds: list[tuple[bytes, bytes, bytes]], queue: int
) -> None:
    play_rounds(kind, way, rounds, queue)


@pytest.mark.parametrize(("kind", "way"), EVERYWHERE)
@quick
@given(
    message=MESSAGES,
    room=st.lists(st.tuples(st.integers(0, 2000), st.booleans()), max_size=6),
    queue=st.integers(0, 5),
    indirect=st.booleans(),
)
@example(message=bytes(16), room=[(1, True)], queue=0, indirect=True)
def test_used_lengths_are_true_and_other_bytes_are_left_alone(
    kind: str, way: str, message: bytes, room: list[tuple[int, bool]], queue: int, indirect: bool
) -> None:
    carrier = CARRIERS[way](kind)
    guest, rings = carrier.guest, carrier.start()
    ring = rings[queue % len(rings)]
    places = [guest.room(length) for length, _ in room]
    buffers = [guest.place(message)] + places
    head = ring.indirect(*buffers) if indirect else ring.chain(*buffers)
    ring.offer(head)
    before = bytearray(guest.ram.bytes)
    ring.notify()
    carrier.outside.stir()
    carrier.settle()
    carrier.check()
    used = ring.completed()
    assert len(used) <= 1
    for entry in used:
        assert entry.head == head
        assert entry.length <= sum(length for _, length, _ in places)
    written = [(address, length) for address, length, _ in places]
    written += [(each.used, 6 + 8 * each.size) for each in rings]
    if kind == "balloon":  # the pages that it is given
        return
    for address, length in written:
        start = address - BASE
        before[start : start + length] = guest.ram.bytes[start : start + length]
    assert guest.ram.bytes == before


def test_there_is_no_old_number_for_vsock_so_it_has_no_ports() -> None:
    carrier = CARRIERS["pci-transitional"]("vsock")
    assert not carrier.guest.tree.read(1, 0x10) & 1  # type: ignore[attr-defined]
    assert carrier.access(6, 0x12, 1) == 0xFF, "as where no function is"
    carrier.check_new()
