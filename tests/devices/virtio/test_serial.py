"""The console device with several ports: virtio 1.2, section 5.3."""

from __future__ import annotations

import struct

import pytest

from bimetal.backends.chars.ring import Ring as Line
from bimetal.base.errors import BimetalError
from bimetal.devices.virtio.limits import PORTS_LIMIT
from bimetal.devices.virtio.serial import MESSAGES_LIMIT, VirtioSerial
from tests.devices.virtio.guest import CONFIG, NEEDS_RESET, STATUS, Guest, Ring

READY, ADD, PORT_READY, OPEN, NAME = 0, 1, 3, 6, 7
MULTIPORT = 1 << 1


class World:
    """A device with two ports, and its driver."""

    def __init__(self) -> None:
        self.lines = [Line(), Line()]
        ports = [("agent", self.lines[0]), ("log", self.lines[1])]
        self.device = VirtioSerial(ports)
        self.guest = Guest(self.device)
        self.rings: list[Ring] = self.guest.start(MULTIPORT, queues=6)

    _left: tuple[int, int, int] | None = None
    """The place that the device still has for a message."""

    def hear(self) -> list[tuple[int, int, int, bytes]]:
        """All messages of the device."""
        heard: list[tuple[int, int, int, bytes]] = []
        while True:
            place = self._left
            if place is None:
                place = self._left = self.guest.room(64)
                self.rings[2].submit(place)
            used = self.rings[2].completed()
            if not used:
                return heard
            self._left = None
            data = self.guest.peek(place)[: used[0].length]
            heard.append((*struct.unpack_from("<IHH", data), data[8:]))

    def say(self, port: int, event: int, value: int) -> None:
        self.rings[3].submit(self.guest.place(struct.pack("<IHH", port, event, value)))


@pytest.fixture
def world() -> World:
    return World()


def test_ports_are_introduced(world: World) -> None:
    assert world.guest.read(CONFIG + 4) == 2, "two ports"
    world.say(0, READY, 1)
    assert world.hear() == [(0, ADD, 0, b""), (1, ADD, 0, b"")]
    world.say(1, PORT_READY, 1)
    assert world.hear() == [(1, NAME, 1, b"log"), (1, OPEN, 1, b"")]


def test_bytes_go_both_ways(world: World) -> None:
    world.rings[5].submit(world.guest.place(b"to the host"))
    assert world.lines[1].output == b"to the host"
    world.rings[1].submit(world.guest.place(b"first port"))
    assert world.lines[0].output == b"first port"
    place = world.guest.room(16)
    world.rings[4].submit(place)
    world.say(1, OPEN, 1)
    world.lines[1].send(b"to the guest")
    assert world.rings[4].completed()[0].length == 12
    assert world.guest.peek(place)[:12] == b"to the guest"


def test_input_waits_until_a_program_has_opened_the_port(world: World) -> None:
    world.lines[0].send(b"early")
    place = world.guest.room(16)
    world.rings[0].submit(place)
    assert world.rings[0].completed() == []
    world.say(0, OPEN, 1)
    assert world.guest.peek(place)[:5] == b"early"
    world.say(0, OPEN, 0)
    world.lines[0].send(b"late")
    world.rings[0].submit(world.guest.room(16))
    assert len(world.rings[0].completed()) == 1, "only what was there before"


def test_messages_of_no_port_are_errors_of_the_guest(world: World) -> None:
    for port, event in ((2, PORT_READY), (0xFFFF_FFFF, OPEN)):
        world.say(port, event, 1)
    world.say(0, 99, 1)
    assert any("port that there is not" in kind for kind in world.device.events.counts)
    assert world.hear() == []
    world.rings[3].submit(world.guest.place(b"short"))
    assert world.guest.read(STATUS) & NEEDS_RESET


def test_a_driver_without_buffers_has_to_wait(world: World) -> None:
    for _ in range(MESSAGES_LIMIT):
        if world.rings[3].free:
            world.say(0, PORT_READY, 1)
            world.rings[3].completed()
    assert MESSAGES_LIMIT <= len(world.device._messages) <= MESSAGES_LIMIT + 2
    assert len(world.hear()) > MESSAGES_LIMIT


@pytest.mark.parametrize("count", [0, PORTS_LIMIT + 1])
def test_numbers_of_ports(count: int) -> None:
    with pytest.raises(ValueError, match="ports"):
        VirtioSerial([("x", Line())] * count)


def test_the_state_survives_a_snapshot(world: World) -> None:
    world.say(0, READY, 1)
    world.say(1, OPEN, 1)
    world.lines[1].send(b"waiting")
    other = World()
    other.guest.ram.bytes[:] = bytes(world.guest.ram.bytes)
    other.guest.slot.load(world.guest.slot.save())
    assert other.device.ports[1].open
    assert other.device.ports[1].waiting == b"waiting"
    assert len(other.device._messages) == 2


def test_it_is_not_forked(world: World) -> None:
    with pytest.raises(BimetalError, match="serial ports"):
        world.guest.slot.check_forkable()
