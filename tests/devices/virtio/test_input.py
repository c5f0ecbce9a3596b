"""Keyboard and tablet: virtio 1.2, section 5.8."""

from __future__ import annotations

import struct

import pytest

from bimetal.devices.virtio.input import (
    WAITING_LIMIT,
    Kind,
    VirtioInput,
    keyboard,
    tablet,
)
from bimetal.screen.inputs import BUTTONS, RANGE
from bimetal.screen.keys import KEYS
from tests.devices.virtio.guest import CONFIG, DEVICE_ID, NEEDS_RESET, STATUS, Guest, Used

A, B, SYNC = KEYS["a"], KEYS["b"], (0, 0, 0)
KEY, RELATIVE, ABSOLUTE = 1, 2, 3


class World:
    """A guest that has a device, and room for so many events."""

    def __init__(self, kind: Kind, room: int = 16):
        self.device = VirtioInput(kind)
        self.guest = Guest(self.device)
        self.events, self.status = self.guest.start(queues=2)
        self.buffers: dict[int, tuple[int, int, int]] = {}
        for _ in range(room):
            self.give_room()

    def give_room(self) -> None:
        buffer = self.guest.room(8)
        self.buffers[self.events.submit(buffer)] = buffer

    def heard(self) -> list[tuple[int, int, int]]:
        """The events since the last call; there is room for as many again."""
        found = []
        for used in self.events.completed():
            assert used.length == 8
            data = self.guest.peek(self.buffers.pop(used.head))
            found.append(struct.unpack("<HHi", data))
        for _ in found:
            self.give_room()
        return found

    def chosen(self, select: int, which: int = 0) -> bytes:
        self.guest.write(CONFIG, select, 1)
        self.guest.write(CONFIG + 1, which, 1)
        size = self.guest.read(CONFIG + 2, 1)
        return bytes(self.guest.read(CONFIG + 8 + n, 1) for n in range(size))


def bits(data: bytes) -> set[int]:
    number = int.from_bytes(data, "little")
    return {n for n in range(number.bit_length()) if number >> n & 1}


def test_a_keyboard_says_what_it_has() -> None:
    world = World(keyboard())
    assert world.guest.read(DEVICE_ID) == 18
    assert world.chosen(1) == b"Bimetal virtio keyboard"
    assert world.chosen(3) == struct.pack("<HHHH", 6, 0, 1, 1)
    assert bits(world.chosen(0x11, KEY)) == set(KEYS.values())
    assert bits(world.chosen(0x11, 0x14)) == {0, 1}
    assert world.chosen(0x11, ABSOLUTE) == world.chosen(0x12, 0) == b""
    assert world.chosen(0x77) == b""


def test_a_tablet_says_what_it_has() -> None:
    world = World(tablet())
    assert bits(world.chosen(0x11, KEY)) == set(BUTTONS.values())
    assert bits(world.chosen(0x11, RELATIVE)) == {8}
    assert bits(world.chosen(0x11, ABSOLUTE)) == {0, 1}
    assert struct.unpack("<IIIII", world.chosen(0x12, 1)) == (0, RANGE, 0, 0, 0)
    assert world.chosen(0x12, 2) == b""


def test_the_rest_of_the_configuration_is_read_only() -> None:
    world = World(keyboard())
    world.guest.write(CONFIG + 2, 9, 1)
    world.guest.write(CONFIG, 0x01010101)
    assert sum(world.device.events.counts.values()) == 2
    assert world.guest.read(CONFIG) == 0


def test_keys_go_down_and_up() -> None:
    world = World(keyboard())
    for code, down in ((A, True), (A, True), (B, True), (A, False), (A, False), (9999, True)):
        world.device.press(code, down)
    assert world.heard() == [(KEY, A, 1), SYNC, (KEY, B, 1), SYNC, (KEY, A, 0), SYNC]
    world.device.release_all()
    assert world.heard() == [(KEY, B, 0), SYNC]


def test_the_tablet_points_presses_and_turns() -> None:
    world = World(tablet())
    world.device.point(5, 1 << 20)
    world.device.press(BUTTONS["left"], True)
    world.device.turn(-1)
    assert world.heard() == [
        *((ABSOLUTE, 0, 5), (ABSOLUTE, 1, RANGE), SYNC),
        *((KEY, 0x110, 1), SYNC, (RELATIVE, 8, -1), SYNC),
    ]


def test_only_the_last_place_waits_for_a_slow_guest() -> None:
    world = World(tablet(), room=0)
    for n in range(1000):
        world.device.point(n, n)
    for _ in range(4):
        world.give_room()
    assert world.heard() == [(ABSOLUTE, 0, 999), (ABSOLUTE, 1, 999), SYNC]


def test_what_is_down_is_released_though_nobody_reads() -> None:
    world = World(keyboard(), room=0)
    world.device.press(A, True)
    for _ in range(1000):
        world.device.press(B, True)
        world.device.press(B, False)
    world.device.press(A, False)
    assert not world.device.listens
    assert len(world.device._waiting_events) <= WAITING_LIMIT + 4
    down: set[int] = set()
    for _ in range(3 * WAITING_LIMIT):
        if world.events.free:
            world.give_room()
        for kind, code, value in world.heard():
            if kind == KEY:
                (down.add if value else down.remove)(code)
    assert not down
    assert world.device.listens


def test_without_a_driver_nothing_waits() -> None:
    device = VirtioInput(keyboard())
    guest = Guest(device)
    device.press(A, True)
    assert (device._waiting_events, device._down) == ([], set())
    guest.start(queues=2)
    device.press(A, False)
    assert device._waiting_events == []


def test_lights_are_taken() -> None:
    world = World(keyboard())
    head = world.status.submit(world.guest.place(struct.pack("<HHi", 0x11, 1, 1)))
    assert world.status.completed() == [Used(head, 0)]


def test_a_buffer_that_cannot_be_written() -> None:
    world = World(keyboard(), room=0)
    world.events.submit(world.guest.place(bytes(8)))
    world.device.press(A, True)
    assert world.guest.read(STATUS) & NEEDS_RESET


@pytest.mark.parametrize("make", [keyboard, tablet])
def test_a_snapshot_knows_what_is_down(make: type) -> None:
    world, other = World(make(), room=0), World(make(), room=0)
    code = BUTTONS["left"] if make is tablet else A
    world.device.press(code, True)
    other.guest.ram.bytes[:] = world.guest.ram.bytes
    other.device.load(world.device.save())
    other.device.release_all()
    assert [event for event in other.device._waiting_events if event != SYNC] == [
        *((KEY, code, 1), (KEY, code, 0)),
    ]
