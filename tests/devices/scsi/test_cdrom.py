"""A CD-ROM drive: MMC-6."""

from __future__ import annotations

import pytest

from bimetal.backends.block.memory import MemoryDisk
from bimetal.devices.scsi.cdrom import ScsiCdrom
from tests.devices.scsi.initiator import ask, be, failure

NO_MEDIUM, NEW_MEDIUM, LOCKED, BAD_FIELD = (2, 0x3A), (6, 0x28), (5, 0x53), (5, 0x24)
BLOCKS = 1000


def disc(blocks: int = BLOCKS) -> MemoryDisk:
    return MemoryDisk(b"".join(be(n, 4) * 512 for n in range(blocks)), readonly=True)


@pytest.fixture
def drive() -> ScsiCdrom:
    return ScsiCdrom(disc())


def event(drive: ScsiCdrom) -> tuple[int, int]:
    """What has happened to the medium, and its state."""
    data = ask(drive, 0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8, room=8)
    assert data[:4] == bytes((0, 6, 4, 0x10))
    return data[4], data[5]


def test_who_it_is(drive: ScsiCdrom) -> None:
    data = ask(drive, 0x12, 0, 0, 0, 36, room=36)
    assert (data[0], data[1]) == (5, 0x80), "a CD-ROM, removable"


def test_reading(drive: ScsiCdrom) -> None:
    assert ask(drive, 0x25, room=8) == be(BLOCKS - 1, 4) + be(2048, 4)
    assert ask(drive, 0x28, 0, *be(7, 4), 0, *be(2, 2), room=4096) == (
        be(7, 4) * 512 + be(8, 4) * 512
    )
    beyond = (0xA8, 0, *be(BLOCKS, 4), *be(1, 4))
    assert failure(drive, *beyond, room=2048) == (5, 0x21)
    assert failure(drive, 0x2A, data=bytes(2048)) == (5, 0x20)


def test_an_empty_drive() -> None:
    drive = ScsiCdrom()
    for cdb in ((0x00,), (0x25,), (0x28,), (0x43,)):
        assert failure(drive, *cdb, room=8) == NO_MEDIUM
    assert event(drive) == (0, 0)
    assert ask(drive, 0x46, 0, 0, 0, 0, 0, 0, *be(255, 2), room=255)[6:8] == be(0, 2)
    drive.close()


def test_a_new_medium_is_told_once(drive: ScsiCdrom) -> None:
    drive.insert(disc(5))
    assert ask(drive, 0x12, 0, 0, 0, 36, room=36), "who asks who it is hears nothing"
    assert failure(drive, 0x00) == NEW_MEDIUM
    assert ask(drive, 0x25, room=8)[:4] == be(4, 4)
    assert event(drive) == (2, 2)
    assert event(drive) == (0, 2)
    drive.insert(None)
    assert failure(drive, 0x00) == NO_MEDIUM
    assert event(drive) == (3, 0)


def test_request_sense_takes_the_attention(drive: ScsiCdrom) -> None:
    drive.insert(disc())
    data = ask(drive, 0x03, 0, 0, 0, 18, room=18)
    assert (data[0], data[2], data[12]) == (0x70, *NEW_MEDIUM)
    ask(drive, 0x00)


def test_the_guest_ejects(drive: ScsiCdrom) -> None:
    ask(drive, 0x1E, 0, 0, 0, 1)
    assert failure(drive, 0x1B, 0, 0, 0, 2) == LOCKED
    ask(drive, 0x1E, 0, 0, 0, 0)
    ask(drive, 0x1B, 0, 0, 0, 2)
    assert drive.disk is None
    assert event(drive) == (3, 1), "the tray is open"
    ask(drive, 0x1B, 0, 0, 0, 3)
    assert event(drive) == (0, 0)
    drive.insert(disc())
    assert failure(drive, 0x00) == NEW_MEDIUM
    ask(drive, 0x1B, 0, 0, 0, 0)
    assert drive.disk is not None, "stopped, but not ejected"


@pytest.mark.parametrize(("minutes", "end"), [(0, be(BLOCKS, 4)), (2, bytes((0, 0, 15, 25)))])
def test_the_contents(drive: ScsiCdrom, minutes: int, end: bytes) -> None:
    data = ask(drive, 0x43, minutes, 0, 0, 0, 0, 0, 0, 100, room=100)
    assert data[:4] == bytes((0, 18, 1, 1))
    assert data[4:8] == bytes((0, 0x14, 1, 0))
    assert data[12:16] == bytes((0, 0x14, 0xAA, 0))
    assert data[16:20] == end
    assert len(ask(drive, 0x43, 0, 0, 0, 0, 0, 0xAA, 0, 100, room=100)) == 12
    assert len(ask(drive, 0x43, 0, 1, 0, 0, 0, 0, 0, 100, room=100)) == 12, "one session"
    assert failure(drive, 0x43, 0, 2, room=8) == BAD_FIELD
    assert failure(drive, 0x43, 0, 0, 0, 0, 0, 5, room=8) == BAD_FIELD


def test_the_configuration(drive: ScsiCdrom) -> None:
    def features(kind: int = 0, first: int = 0) -> dict[int, bytes]:
        data = ask(drive, 0x46, kind, *be(first, 2), 0, 0, 0, *be(1024, 2), room=1024)
        assert int.from_bytes(data[:4], "big") == len(data) - 4
        found, at = {}, 8
        while at < len(data):
            found[int.from_bytes(data[at : at + 2], "big")] = data[at + 4 : at + 4 + data[at + 3]]
            at += 4 + data[at + 3]
        return found

    assert list(features()) == [0, 1, 3, 0x10, 0x1E, 0x1F]
    assert list(features(1)) == [0, 1, 3, 0x10, 0x1E], "those that are there with this medium"
    assert list(features(2, 3)) == [3]
    assert features()[0] == be(0x10, 2) + bytes(2) + be(8, 2) + bytes((1, 0))
    drive.disk.size = 4 << 30  # type: ignore[union-attr]
    assert 0x1F in features(1)


def test_capabilities(drive: ScsiCdrom) -> None:
    data = ask(drive, 0x5A, 0, 0x2A, 0, 0, 0, 0, 0, 128, room=128)
    assert data[8] == 0x2A
    assert len(data) == 10 + data[9] == int.from_bytes(data[:2], "big") + 2
    assert ask(drive, 0x4A, 1, 0, 0, 0x02, 0, 0, 0, 8, room=8) == bytes((0, 2, 0x80, 0x10))
    assert failure(drive, 0x4A, 0, 0, 0, 0x10, 0, 0, 0, 8, room=8) == BAD_FIELD
