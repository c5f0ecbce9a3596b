"""Version 1 of the MMIO transport: as teaching systems use it, and as Linux does."""

from __future__ import annotations

import struct

import pytest

from bimetal.backends.block.memory import MemoryDisk
from bimetal.devices.virtio.block import VirtioBlock
from bimetal.devices.virtio.device import VirtioDevice
from bimetal.devices.virtio.mmio_legacy import VirtioMmioLegacy
from bimetal.devices.virtio.net import VirtioNet
from tests.devices.virtio.cable import STATION, Cable, frame
from tests.devices.virtio.guest import (
    ACKNOWLEDGE,
    CONFIG,
    DEVICE_FEATURES,
    DEVICE_FEATURES_SEL,
    DEVICE_ID,
    DRIVER,
    DRIVER_FEATURES,
    DRIVER_OK,
    FEATURES_OK,
    INDIRECT_DESC,
    INTERRUPT_ACK,
    INTERRUPT_STATUS,
    NEEDS_RESET,
    QUEUE_SEL,
    QUEUE_SIZE,
    STATUS,
    Guest,
    Ring,
    RowRing,
)

VERSION, GUEST_PAGE_SIZE, QUEUE_ALIGN, QUEUE_PFN, QUEUE_READY = 0x04, 0x28, 0x3C, 0x40, 0x44
PAGE = 4096
SIZE = 16


class LegacyGuest(Guest):
    """A slot of version 1 with a disk, or another device."""

    def __init__(self, device: VirtioDevice | None = None) -> None:
        super().__init__(None)
        self.slot: VirtioMmioLegacy = VirtioMmioLegacy(  # type: ignore[assignment]
            device or VirtioBlock(MemoryDisk(64 << 10), "serial"), self.space
        )
        self.slot.irq.connect(self._interrupt)

    def begin(self) -> None:
        for status in (0, ACKNOWLEDGE, ACKNOWLEDGE | DRIVER):
            self.write(STATUS, status)

    def lay(
        self,
        alignment: int = PAGE,
        *,
        page: int = PAGE,
        align: int | None = None,
        index: int = 0,
    ) -> RowRing:
        """Set up queue ``index``, in units of ``page`` if that is not 0."""
        at = self.allocate(3 * PAGE, PAGE)
        if page:
            self.write(GUEST_PAGE_SIZE, page)
        self.write(QUEUE_SEL, index)
        self.write(QUEUE_SIZE, SIZE)
        if align is not None:
            self.write(QUEUE_ALIGN, align)
        self.write(QUEUE_PFN, at // (page or 1))
        return RowRing(self, at, alignment, index)


@pytest.fixture
def guest() -> LegacyGuest:
    return LegacyGuest()


def identity(ring: Ring, guest: Guest) -> bytes:
    room = guest.room(20)
    ring.submit(guest.place(struct.pack("<IIQ", 8, 0, 0)), room, guest.room(1))
    assert len(ring.completed()) == 1
    return guest.peek(room).rstrip(b"\0")


def test_what_it_says_it_is(guest: LegacyGuest) -> None:
    assert (guest.read(0), guest.read(VERSION), guest.read(DEVICE_ID)) == (0x7472_6976, 1, 2)
    guest.write(DEVICE_FEATURES_SEL, 1)
    assert guest.read(DEVICE_FEATURES) == 0
    guest.write(DEVICE_FEATURES_SEL, 0)
    assert guest.read(DEVICE_FEATURES) & INDIRECT_DESC
    assert guest.read(CONFIG) == 128


def test_as_linux_does_it(guest: LegacyGuest) -> None:
    guest.begin()
    guest.write(DRIVER_FEATURES, INDIRECT_DESC)
    assert guest.read(QUEUE_PFN) == 0
    ring = guest.lay(align=PAGE)
    assert guest.read(QUEUE_PFN) == ring.descriptors // PAGE
    guest.write(STATUS, ACKNOWLEDGE | DRIVER | DRIVER_OK)
    assert identity(ring, guest) == b"serial"
    assert guest.irq()
    guest.write(INTERRUPT_ACK, guest.read(INTERRUPT_STATUS))
    assert not guest.irq()
    head = ring.indirect(guest.place(struct.pack("<IIQ", 8, 0, 0)), guest.room(21))
    ring.offer(head)
    ring.notify()
    assert len(ring.completed()) == 1
    guest.write(QUEUE_PFN, 0)
    assert guest.read(QUEUE_PFN) == 0
    assert not guest.slot.events.counts


def test_as_a_small_teaching_system_does_it(guest: LegacyGuest) -> None:
    """No size of pages, so that their number is an address; alignment 0; no features; FEATURES_OK,
    which there is not; and a status that forgets the bits before."""
    guest.begin()
    guest.write(STATUS, guest.read(STATUS) | FEATURES_OK)
    ring = guest.lay(page=0, align=0)
    guest.write(STATUS, DRIVER_OK)
    assert identity(ring, guest) == b"serial"


@pytest.mark.parametrize("late", [False, True])
def test_a_queue_that_is_laid_out_after_all_else(guest: LegacyGuest, late: bool) -> None:
    guest.begin()
    guest.write(STATUS, 0xF)
    ring = guest.lay(alignment=64, align=None if late else 64)
    if late:
        guest.write(QUEUE_ALIGN, 64)
    guest.write(QUEUE_READY, 1)
    assert ring.used - ring.descriptors < 512
    assert identity(ring, guest) == b"serial"


def test_requests_before_the_driver_says_that_it_is_ready(guest: LegacyGuest) -> None:
    guest.begin()
    ring = guest.lay()
    assert identity(ring, guest) == b"serial"
    guest.write(STATUS, ACKNOWLEDGE | DRIVER | DRIVER_OK)
    assert identity(ring, guest) == b"serial"


def test_a_network_card_whose_driver_never_speaks_of_features() -> None:
    """Then its headers have the 10 bytes that they once had (5.1.6.1)."""
    cable = Cable()
    guest = LegacyGuest(VirtioNet(cable, STATION))
    guest.begin()
    receive, transmit = guest.lay(), guest.lay(index=1)
    guest.write(STATUS, DRIVER | DRIVER_OK)
    transmit.submit(guest.place(bytes(10) + frame(b"hello")))
    assert [data for data, _ in cable.sent] == [frame(b"hello")]
    room = guest.room(64)
    receive.submit(room)
    cable.deliver(frame(b"answer"))
    assert guest.peek(room)[10:].startswith(frame(b"answer"))


def test_a_reset_forgets_the_queues(guest: LegacyGuest) -> None:
    guest.begin()
    guest.lay(align=64)
    guest.write(STATUS, 0)
    assert guest.read(QUEUE_PFN) == 0
    guest.begin()
    ring = guest.lay()
    guest.write(STATUS, 7)
    assert identity(ring, guest) == b"serial"


def test_a_reset_by_the_driver_does_not_forget_how_large_pages_are(guest: LegacyGuest) -> None:
    """Linux says it once, and then begins with a reset."""
    guest.write(GUEST_PAGE_SIZE, PAGE)
    guest.write(STATUS, 0)
    assert guest.slot.GUEST_PAGE_SIZE == PAGE
    guest.slot.reset()
    assert guest.slot.GUEST_PAGE_SIZE == 0


@pytest.mark.parametrize("page", [1, 0xFFFF_FFFF, 0x8000_0000 // PAGE + 1000])
def test_queues_that_are_nowhere(guest: LegacyGuest, page: int) -> None:
    guest.begin()
    guest.write(GUEST_PAGE_SIZE, PAGE)
    guest.write(QUEUE_SIZE, SIZE)
    guest.write(QUEUE_PFN, page)
    assert guest.read(STATUS) & NEEDS_RESET
    guest.begin()
    ring = guest.lay()
    assert identity(ring, guest) == b"serial"


def test_numbers_that_are_none(guest: LegacyGuest) -> None:
    guest.begin()
    for align in (3, 4097, 0xFFFF_FFFF):
        guest.write(QUEUE_ALIGN, align)
    guest.write(QUEUE_SEL, 7)
    guest.write(QUEUE_ALIGN, PAGE)
    guest.write(QUEUE_PFN, 1)
    assert guest.read(QUEUE_PFN) == 0
    assert sum(guest.slot.events.counts.values()) == 5
    ring = guest.lay()
    assert identity(ring, guest) == b"serial"


def test_its_state_goes_into_another_machine(guest: LegacyGuest) -> None:
    guest.begin()
    ring = guest.lay(alignment=64, align=64)
    identity(ring, guest)
    other = LegacyGuest()
    other.ram.bytes[:] = guest.ram.bytes
    other.slot.load(guest.slot.save())
    ring.guest, other._next = other, guest._next
    assert other.read(QUEUE_PFN) == ring.descriptors // PAGE
    assert identity(ring, other) == b"serial"
