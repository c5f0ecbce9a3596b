"""The SCSI host device: virtio 1.2, section 5.6."""

from __future__ import annotations

import struct

import pytest

from bimetal.backends.block.memory import MemoryDisk
from bimetal.devices.scsi.cdrom import ScsiCdrom
from bimetal.devices.scsi.disk import ScsiDisk
from bimetal.devices.virtio.scsi import VirtioScsi
from tests.devices.virtio.guest import CONFIG, DEVICE_ID, NEEDS_RESET, STATUS, Guest

CONTENT = bytes(range(256)) * 64
DISK, DRIVE, NOBODY = 0, 1, 2


class World:
    """A host with a disk and an empty drive, and its driver."""

    def __init__(self) -> None:
        self.disk = MemoryDisk(CONTENT)
        self.guest = Guest(VirtioScsi([ScsiDisk(self.disk), ScsiCdrom()]))
        self.control, self.event, self.ring = self.guest.start(queues=3)

    def ask(
        self, target: int, *cdb: int, lun: int = 0, data: bytes = b"", room: int = 0
    ) -> tuple[int, int, int, bytes, bytes]:
        """Response, status, residual, sense data, and data, of one command."""
        guest = self.guest
        where = bytes((1, target)) + struct.pack(">H", 0x4000 | lun) + bytes(4)
        head = where + struct.pack("<QBBB", 7, 0, 0, 0) + bytes(cdb).ljust(32, b"\0")
        answer, into = guest.room(108), guest.room(room)
        buffers = [guest.place(head)] + ([guest.place(data)] if data else [])
        head_index = self.ring.submit(*buffers, answer, *([into] if room else []))
        (used,) = self.ring.completed()
        assert used.head == head_index
        raw = guest.peek(answer)
        length, residual, _, status, response = struct.unpack_from("<IIHBB", raw)
        moved = room - residual if room else 0
        assert used.length == 108 + moved
        return response, status, residual, raw[12 : 12 + length], guest.peek(into)[:moved]


@pytest.fixture
def world() -> World:
    return World()


def test_the_configuration(world: World) -> None:
    guest = world.guest
    assert guest.read(DEVICE_ID) == 8
    assert guest.read(CONFIG) == 1, "one queue of requests"
    assert (guest.read(CONFIG + 20), guest.read(CONFIG + 24)) == (96, 32)
    assert guest.read(CONFIG + 30, 2) == 1, "the last target"
    guest.write(CONFIG + 24, 16)
    assert guest.read(CONFIG + 24) == 16
    guest.write(CONFIG + 24, 1 << 20)
    guest.write(CONFIG, 5)
    assert (guest.read(CONFIG + 24), guest.read(CONFIG)) == (16, 1)


def test_reading_and_writing(world: World) -> None:
    assert world.ask(DISK, 0x28, 0, 0, 0, 0, 1, 0, 0, 2, room=1024) == (
        0, 0, 0, b"", CONTENT[512:1536],
    )  # fmt: skip
    assert world.ask(DISK, 0x2A, 0, 0, 0, 0, 3, 0, 0, 1, data=b"x" * 512)[:3] == (0, 0, 0)
    assert world.disk.read(1536, 512) == b"x" * 512
    assert world.ask(DISK, 0x28, 0, 0, 0, 0, 0, 0, 0, 1, room=1024)[2] == 512, "a residual"


def test_sense_comes_with_the_command(world: World) -> None:
    response, status, residual, sense, data = world.ask(DRIVE, 0x25, room=8)
    assert (response, status, residual, data) == (0, 2, 8, b"")
    assert (sense[0], sense[2], sense[12]) == (0x70, 2, 0x3A)


def test_targets_and_units(world: World) -> None:
    assert world.ask(NOBODY, 0x12, 0, 0, 0, 36, room=36)[0] == 3
    assert world.ask(DISK, 0x00, lun=1)[3][12] == 0x25
    luns = world.ask(DISK, 0xA0, *bytes(5), 0, 0, 0, 16, room=16, lun=1)[4]
    assert luns == bytes((0, 0, 0, 8)) + bytes(12)


def test_control(world: World) -> None:
    guest = world.guest
    for target, response in ((DISK, 0), (NOBODY, 3)):
        where = bytes((1, target, 0x40, 0)) + bytes(4)
        place = guest.room(1)
        world.control.submit(guest.place(struct.pack("<II8sQ", 0, 5, where, 1)), place)
        assert guest.peek(place)[0] == response
        place = guest.room(5)
        world.control.submit(guest.place(struct.pack("<I8sI", 2, where, 6)), place)
        assert guest.peek(place) == bytes((0, 0, 0, 0, response))
    world.control.submit(guest.place(b"\x09\0\0\0"), guest.room(1))
    assert guest.read(STATUS) & NEEDS_RESET


@pytest.mark.parametrize("sizes", [(50, 108), (51 + 32 - 1, 107)])
def test_requests_that_are_too_short(world: World, sizes: tuple[int, int]) -> None:
    guest = world.guest
    world.ring.submit(guest.place(bytes(sizes[0])), guest.room(sizes[1]))
    assert guest.read(STATUS) & NEEDS_RESET


def test_a_reset_reaches_the_units(world: World) -> None:
    drive = world.guest.slot.device.units[1]  # type: ignore[attr-defined]
    fresh = drive.save()
    assert world.ask(DRIVE, 0x1E, 0, 0, 0, 1)[:2] == (0, 0), "the medium is locked in"
    drive.insert(MemoryDisk(4096, readonly=True))
    world.guest.write(STATUS, 0)
    assert drive.save() == fresh
    assert drive.disk is not None


def test_the_state_survives_a_snapshot(world: World) -> None:
    drive = world.guest.slot.device.units[1]  # type: ignore[attr-defined]
    drive.insert(MemoryDisk(4096, readonly=True))
    state = world.guest.slot.save()
    other = World()
    other.guest.slot.device.units[1].disk = MemoryDisk(4096)  # type: ignore[attr-defined]
    other.guest.slot.load(state)
    assert other.guest.slot.save() == state


def test_units_are_closed_with_the_device(world: World) -> None:
    closed = []
    world.disk.close = lambda: closed.append(True)  # type: ignore[method-assign]
    world.guest.slot.close()
    assert closed
