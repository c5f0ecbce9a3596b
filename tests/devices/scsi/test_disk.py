"""A SCSI disk: SPC-4 and SBC-3."""

from __future__ import annotations

import errno

import pytest

from bimetal.backends.block.memory import MemoryDisk
from bimetal.devices.scsi.disk import ScsiDisk
from tests.devices.scsi.initiator import Failed, ask, be, failure

CONTENT = b"".join(be(n, 2) * 256 for n in range(64))
ILLEGAL = 5


class Recorder(MemoryDisk):
    """A disk that tells of flushes and of what is given back."""

    def __init__(self, content: bytes | int = CONTENT, *, readonly: bool = False):
        super().__init__(content, readonly=readonly)
        self.calls: list[str] = []

    def flush(self) -> None:
        self.calls.append("flush")

    def discard(self, offset: int, length: int) -> None:
        self.calls.append(f"discard {offset} {length}")

    def write_zeroes(self, offset: int, length: int, *, unmap: bool = False) -> None:
        self.calls.append(f"zero {offset} {length} {unmap}")
        super().write_zeroes(offset, length)


@pytest.fixture
def disk() -> Recorder:
    return Recorder()


@pytest.fixture
def unit(disk: Recorder) -> ScsiDisk:
    return ScsiDisk(disk, "BM-1")


def test_who_it_is(unit: ScsiDisk) -> None:
    data = ask(unit, 0x12, 0, 0, 0, 96, room=96)
    assert (len(data), data[0], data[1], data[4]) == (36, 0, 0, 31)
    assert data[8:16] == b"BIMETAL "
    assert data[16:32] == b"DISK".ljust(16)
    assert ask(unit, 0x12, 0, 0, 0, 5, room=96) == data[:5]
    assert ask(unit, 0x12, 1, 0x80, 0, 96, room=96) == bytes((0, 0x80, 0, 4)) + b"BM-1"
    pages = ask(unit, 0x12, 1, 0, 0, 96, room=96)
    assert list(pages[4:]) == [0, 0x80, 0x83, 0xB0, 0xB1, 0xB2]
    for page in pages[4:]:
        data = ask(unit, 0x12, 1, page, 0, 255, room=255)
        assert data[1] == page
        assert int.from_bytes(data[2:4], "big") == len(data) - 4
    assert failure(unit, 0x12, 1, 0x99, 0, 96, room=96) == (ILLEGAL, 0x24)
    assert failure(unit, 0x12, 0, 0x80, 0, 96, room=96) == (ILLEGAL, 0x24)


def test_how_large_it_is(unit: ScsiDisk) -> None:
    assert ask(unit, 0x25, room=8) == be(63, 4) + be(512, 4)
    data = ask(unit, 0x9E, 0x10, *be(0, 8), *be(32, 4), room=32)
    assert (data[:12], data[14]) == (be(63, 8) + be(512, 4), 0x80)
    assert failure(unit, 0x9E, 0x11, room=32) == (ILLEGAL, 0x24)
    huge = ScsiDisk(MemoryDisk(512))
    huge.disk.size = 1 << 43  # type: ignore[union-attr]
    assert ask(huge, 0x25, room=8)[:4] == be(0xFFFF_FFFF, 4), "ask by the longer command"


READS = [
    (0x08, *be(5, 3), 3),
    (0x28, 0, *be(5, 4), 0, *be(3, 2)),
    (0xA8, 0, *be(5, 4), *be(3, 4)),
    (0x88, 0, *be(5, 8), *be(3, 4)),
]


@pytest.mark.parametrize("cdb", READS)
def test_reading(unit: ScsiDisk, cdb: tuple[int, ...]) -> None:
    assert ask(unit, *cdb, room=1536) == CONTENT[5 * 512 : 8 * 512]
    assert ask(unit, *cdb, room=100) == CONTENT[5 * 512 :][:100], "as much as there is room for"


@pytest.mark.parametrize("cdb", READS)
def test_writing(unit: ScsiDisk, disk: Recorder, cdb: tuple[int, ...]) -> None:
    data = bytes(range(256)) * 6
    ask(unit, cdb[0] | 2, *cdb[1:], data=data)
    assert disk.read(0, disk.size) == CONTENT[: 5 * 512] + data + CONTENT[8 * 512 :]
    assert failure(unit, cdb[0] | 2, *cdb[1:], data=data[:-1]) == (ILLEGAL, 0x24)


def test_a_length_of_zero_is_256_blocks_in_the_oldest_command_only() -> None:
    unit = ScsiDisk(MemoryDisk(1 << 20))
    assert len(ask(unit, 0x08, 0, 0, 0, 0, room=1 << 20)) == 256 * 512
    assert ask(unit, 0x28, room=512) == b""


@pytest.mark.parametrize(
    "cdb",
    [
        (0x28, 0, *be(63, 4), 0, *be(2, 2)),
        (0x88, 0, *be(2**64 - 1, 8), *be(2, 4)),
        (0x2A, 0, *be(64, 4), 0, *be(1, 2)),
        (0x2F, 0, *be(64, 4), 0, *be(1, 2)),
        (0x93, 1, *be(63, 8), *be(2, 4)),
    ],
)
def test_nothing_lies_beyond_the_end(unit: ScsiDisk, disk: Recorder, cdb: tuple[int, ...]) -> None:
    assert failure(unit, *cdb, data=bytes(1024), room=1024) == (ILLEGAL, 0x21)
    assert disk.read(0, disk.size) == CONTENT


def test_caches(unit: ScsiDisk, disk: Recorder) -> None:
    ask(unit, 0x35)
    ask(unit, 0x91)
    assert disk.calls == ["flush", "flush"]
    ask(unit, 0x2A, 0x08, *be(0, 4), 0, *be(1, 2), data=bytes(512))
    assert disk.calls == ["flush"] * 3, "forced unit access"


@pytest.mark.parametrize("short", [True, False])
def test_modes(unit: ScsiDisk, short: bool) -> None:
    def modes(page: int, room: int = 255) -> bytes:
        cdb = (0x1A, 0, page, 0, room) if short else (0x5A, 0, page, *bytes(4), 0, room)
        return ask(unit, *cdb, room=255)

    head = 4 if short else 8
    caching = modes(0x08)
    assert caching[head : head + 3] == bytes((0x08, 18, 0x04)), "a write cache"
    assert caching[2 if short else 3] == 0x10
    assert int.from_bytes(caching[: 1 if short else 2], "big") == len(caching) - (1 if short else 2)
    assert len(modes(0x3F)) > len(caching)
    assert modes(0x3F, 4) == modes(0x3F)[:4]
    assert modes(0x48)[head:] == bytes((0x08, 18)) + bytes(18), "nothing can be changed"
    for page in (0x2A, 0xC8):
        with pytest.raises(Failed, match="code=36"):
            modes(page)


def test_ranges_are_unmapped(unit: ScsiDisk, disk: Recorder) -> None:
    ranges = be(4, 8) + be(8, 4) + bytes(4) + be(0, 8) + be(1, 4) + bytes(4)
    data = be(len(ranges) + 6, 2) + be(len(ranges), 2) + bytes(4) + ranges
    ask(unit, 0x42, *bytes(6), *be(len(data), 2), data=data)
    assert disk.calls == ["discard 2048 4096", "discard 0 512"]
    assert ask(unit, 0x42) == b""
    beyond = data[:8] + be(60, 8) + be(5, 4) + bytes(4) + data[24:]
    assert failure(unit, 0x42, *bytes(6), *be(40, 2), data=beyond) == (ILLEGAL, 0x21)
    assert len(disk.calls) == 2, "nothing of a list that is wrong"


def test_the_same_again_and_again(unit: ScsiDisk, disk: Recorder) -> None:
    block = bytes(range(256)) * 2
    ask(unit, 0x41, 0, *be(3, 4), 0, *be(2, 2), data=block)
    assert disk.read(1536, 1024) == block * 2
    ask(unit, 0x93, 0x08, *be(10, 8), *be(4, 4), data=bytes(512))
    ask(unit, 0x93, 0x01, *be(20, 8), *be(1, 4))
    assert disk.calls == ["zero 5120 2048 True", "zero 10240 512 False"]
    assert failure(unit, 0x93, 0, *be(0, 8), *be(0, 4), data=block) == (ILLEGAL, 0x24)
    assert failure(unit, 0x93, 0x10, *be(0, 8), *be(1, 4), data=block)[1] == 0x24
    assert failure(unit, 0x41, 0, *be(0, 4), 0, *be(1, 2), data=block[:9])[1] == 0x24


def test_a_disk_that_is_only_read() -> None:
    disk = Recorder(readonly=True)
    unit = ScsiDisk(disk)
    assert ask(unit, 0x1A, 0, 0x08, 0, 255, room=255)[2] & 0x80
    for cdb, data in (
        ((0x2A, 0, *be(0, 4), 0, *be(1, 2)), bytes(512)),
        ((0x93, 1, *be(0, 8), *be(1, 4)), b""),
        ((0x42,), b""),
    ):
        assert failure(unit, *cdb, data=data) == (7, 0x27)
    assert ask(unit, 0x9E, 0x10, *be(0, 8), *be(32, 4), room=32)[14] == 0
    assert disk.read(0, disk.size) == CONTENT


def test_commands_that_there_are_not(unit: ScsiDisk) -> None:
    for opcode in (0x04, 0xFF, 0x43, 0xA3):
        assert failure(unit, opcode) == (ILLEGAL, 0x20)


def test_errors_of_the_host_are_not_the_units() -> None:
    class Broken(Recorder):
        def flush(self) -> None:
            raise OSError(errno.EIO, "broken")

    with pytest.raises(OSError, match="broken"):
        ask(ScsiDisk(Broken()), 0x35)
