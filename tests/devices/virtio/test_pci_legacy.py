"""A transitional function: drivers from before virtio 1 use its ports, newer ones its registers."""

from __future__ import annotations

import struct

import pytest

from bimetal.backends.block.memory import MemoryDisk
from bimetal.devices.virtio.block import VirtioBlock
from tests.devices.virtio.guest import INDIRECT_DESC, VERSION_1, Ring, RowRing
from tests.devices.virtio.pci_guest import PciGuest

PAGE = 4096
FEATURES, ACCEPTED, PFN, QUEUE_SIZE, SELECT, NOTIFY, STATUS, ISR = (
    0x00,
    0x04,
    0x08,
    0x0C,
    0x0E,
    0x10,
    0x12,
    0x13,
)
CONFIG_VECTOR, QUEUE_VECTOR = 0x14, 0x16


class PortRing(RowRing):
    """A queue of the device's size in a row of pages, notified by a port."""

    guest: PciGuest

    def __init__(self, guest: PciGuest, index: int = 0):
        at = guest.allocate(3 * PAGE, PAGE)
        super().__init__(guest, at, PAGE, index, guest.port(QUEUE_SIZE, 2))
        guest.port(PFN, 4, at // PAGE)

    def notify(self) -> None:
        self.guest.port(NOTIFY, 2, self.index)


@pytest.fixture
def guest() -> PciGuest:
    return PciGuest(VirtioBlock(MemoryDisk(64 << 10), "serial"), transitional=True)


def begin(guest: PciGuest) -> PortRing:
    for status in (0, 1, 3):
        guest.port(STATUS, 1, status)
    guest.port(ACCEPTED, 4, guest.port(FEATURES, 4) & INDIRECT_DESC)
    guest.port(SELECT, 2, 0)
    ring = PortRing(guest)
    guest.port(STATUS, 1, 7)
    return ring


def identity(ring: Ring, guest: PciGuest) -> bytes:
    room = guest.room(20)
    ring.submit(guest.place(struct.pack("<IIQ", 8, 0, 0)), room, guest.room(1))
    assert len(ring.completed()) == 1
    return guest.peek(room).rstrip(b"\0")


def test_what_it_says_it_is(guest: PciGuest) -> None:
    assert guest.tree.read(1, 0) == 0x1001_1AF4
    assert guest.tree.read(1, 8, 1) == 0
    assert guest.tree.read(1, 0x2C) == 0x0002_1AF4
    assert guest.tree.read(1, 0x10) & 1, "ports"


def test_an_old_driver(guest: PciGuest) -> None:
    ring = begin(guest)
    assert guest.port(PFN, 4) == ring.descriptors // PAGE
    assert identity(ring, guest) == b"serial"
    assert guest.irq()
    assert guest.port(ISR, 1) == 1
    assert not guest.irq()
    assert guest.port(0x14, 4) == 128, "the capacity, in sectors"
    guest.port(PFN, 4, 0)
    assert guest.port(PFN, 4) == 0
    assert not guest.device.events.counts


def test_the_configuration_moves_behind_the_vectors(guest: PciGuest) -> None:
    (at,) = guest.tree.capabilities(1)[0x11]
    guest.tree.write(1, at + 2, 1 << 15, 2)
    guest.table(1, 0xFEE0_0000, 8)
    ring = begin(guest)
    assert guest.port(0x18, 4) == 128
    guest.port(QUEUE_VECTOR, 2, 9)
    assert guest.port(QUEUE_VECTOR, 2) == 0xFFFF
    guest.port(QUEUE_VECTOR, 2, 1)
    guest.port(CONFIG_VECTOR, 2, 0)
    assert (guest.port(QUEUE_VECTOR, 2), guest.port(CONFIG_VECTOR, 2)) == (1, 0)
    identity(ring, guest)
    assert [message[1:] for message in guest.messages] == [(0xFEE0_0000, 8)]


def test_a_new_driver_after_an_old_one(guest: PciGuest) -> None:
    def old() -> bool:
        return guest.device.legacy

    identity(begin(guest), guest)
    assert old()
    (ring,) = guest.start()
    assert not old()
    assert guest.device.features & VERSION_1
    assert identity(ring, guest) == b"serial"
    identity(begin(guest), guest)
    assert old()


def test_what_is_not_there(guest: PciGuest) -> None:
    begin(guest)
    guest.port(SELECT, 2, 3)
    assert (guest.port(QUEUE_SIZE, 2), guest.port(PFN, 4)) == (0, 0)
    guest.port(PFN, 4, 1)
    guest.port(NOTIFY, 2, 3)
    guest.port(SELECT, 2, 0)
    guest.port(PFN, 4, 0xFFFF_FFFF)
    assert sum(guest.device.events.counts.values()) == 3
    assert identity(begin(guest), guest) == b"serial"


def test_its_state_goes_into_another_machine(guest: PciGuest) -> None:
    ring = begin(guest)
    identity(ring, guest)
    other = PciGuest(VirtioBlock(MemoryDisk(64 << 10), "serial"), transitional=True)
    other.ram.bytes[:] = guest.ram.bytes
    other.function.load(guest.function.save())
    ring.guest, other._next = other, guest._next
    assert other.device.legacy
    assert identity(ring, other) == b"serial"
