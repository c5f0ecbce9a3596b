"""The block device: virtio 1.2, section 5.2."""

from __future__ import annotations

import errno
import logging
import os
import struct
from collections.abc import Sequence

import pytest

from bimetal.backends.block.memory import MemoryDisk
from bimetal.devices.virtio.block import VirtioBlock
from tests.devices.virtio.guest import (
    CONFIG,
    DEVICE_ID,
    EVENT_IDX,
    INDIRECT_DESC,
    NEEDS_RESET,
    STATUS,
    VERSION_1,
    Guest,
    Ring,
    Used,
)

SECTOR = 512
RO, BLK_SIZE, FLUSH_FEATURE, TOPOLOGY = 1 << 5, 1 << 6, 1 << 9, 1 << 10
CONFIG_WCE, DISCARD_FEATURE, ZEROES_FEATURE = 1 << 11, 1 << 13, 1 << 14

IN, OUT, FLUSH, GET_ID, DISCARD, WRITE_ZEROES = 0, 1, 4, 8, 11, 13
OK, IOERR, UNSUPP = 0, 1, 2

CONTENT = b"".join(struct.pack("<I", n) * 128 for n in range(64))


class Recorder(MemoryDisk):
    """A disk in memory that tells what was asked of it, and fails on demand."""

    def __init__(self, *, readonly: bool = False):
        super().__init__(CONTENT, readonly=readonly)
        self.calls: list[str] = []
        self.error: int | None = None
        self.closed = False

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))

    def readv(self, offset: int, buffers: Sequence[memoryview]) -> None:
        self._note(f"read {offset} {[len(buffer) for buffer in buffers]}")
        super().readv(offset, buffers)

    def writev(self, offset: int, buffers: Sequence[memoryview]) -> None:
        self._note(f"write {offset} {[len(buffer) for buffer in buffers]}")
        super().writev(offset, buffers)

    def flush(self) -> None:
        self._note("flush")

    def discard(self, offset: int, length: int) -> None:
        self._note(f"discard {offset} {length}")

    def write_zeroes(self, offset: int, length: int, *, unmap: bool = False) -> None:
        self._note(f"zero {offset} {length} {unmap}")
        super().write_zeroes(offset, length)

    def close(self) -> None:
        self.closed = True


class Grouping(Recorder):
    """A disk on which writes can belong together."""

    unsettled = True

    def hold(self) -> None:
        self.calls.append("hold")

    def settle(self) -> None:
        self._note("settle")


class Machine:
    """A guest with one disk, and its driver."""

    def __init__(self, features: int | None = None, disk: Recorder | None = None, serial: str = ""):
        self.disk = disk or Recorder()
        self.device = VirtioBlock(self.disk, serial)
        self.guest = Guest(self.device)
        chosen = self.guest.offered if features is None else features
        self.ring: Ring = self.guest.start(chosen)[0]

    def ask(self, kind: int, sector: int = 0, data: bytes = b"", room: int = 0) -> int:
        """One request; its status."""
        guest = self.guest
        self.status = guest.room(1)
        self.answer = guest.room(room)
        buffers = [guest.place(struct.pack("<IIQ", kind, 0, sector))]
        buffers += [guest.place(data)] if data else []
        buffers += [self.answer] if room else []
        head = self.ring.submit(*buffers, self.status)
        assert self.ring.completed() == [Used(head, room + 1)]
        return guest.peek(self.status)[0]

    def read(self, sector: int, length: int) -> bytes:
        assert self.ask(IN, sector, room=length) == OK
        return self.guest.peek(self.answer)


def test_the_configuration() -> None:
    disk = MemoryDisk(1 << 20)
    guest = Guest(VirtioBlock(disk, block_size=512, physical_block_size=4096))
    assert guest.read(DEVICE_ID) == 2
    assert guest.read(CONFIG, 8) == 2048, "capacity in sectors"
    assert guest.read(CONFIG + 12) == 254, "seg_max"
    assert guest.read(CONFIG + 20) == 512, "blk_size"
    assert guest.read(CONFIG + 24, 1) == 3, "8 logical blocks in a physical one"
    assert guest.read(CONFIG + 26, 2) == 8, "min_io_size"
    assert guest.read(CONFIG + 32, 1) == 1, "writeback"
    assert guest.read(CONFIG + 36) == 1 << 22, "max_discard_sectors"
    assert guest.read(CONFIG + 40) == 64, "max_discard_seg"
    assert guest.read(CONFIG + 44) == 1, "discard_sector_alignment"
    assert guest.read(CONFIG + 48) == 1 << 18, "max_write_zeroes_sectors"
    assert guest.read(CONFIG + 52) == 1, "max_write_zeroes_seg"
    assert guest.read(CONFIG + 56, 1) == 1, "write_zeroes_may_unmap"
    assert not guest.offered & RO


@pytest.mark.parametrize(
    "sizes",
    [(256, 0), (513, 0), (1024, 512), (8192, 0), (1 << 21, 0), (512, 768), (512, 1 << 22)],
)
def test_block_sizes_that_cannot_be(sizes: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="block"):
        VirtioBlock(MemoryDisk(1 << 20), block_size=sizes[0], physical_block_size=sizes[1])


@pytest.mark.parametrize("block", [512, 1024, 2048, 4096])
@pytest.mark.parametrize("times", [1, 8, 512])
def test_block_sizes_that_can_be(block: int, times: int) -> None:
    device = VirtioBlock(MemoryDisk(1 << 20), block_size=block, physical_block_size=block * times)
    guest = Guest(device)
    assert guest.read(CONFIG + 20) == block, "blk_size"
    assert block << guest.read(CONFIG + 24, 1) == block * times, "physical_block_exp"
    assert guest.read(CONFIG + 26, 2) == times, "min_io_size"


def test_reading_and_writing() -> None:
    machine = Machine()
    assert machine.read(5, 1024) == CONTENT[5 * SECTOR : 7 * SECTOR]
    assert machine.ask(OUT, 9, b"\xab" * SECTOR) == OK
    assert machine.read(8, 3 * SECTOR) == (
        CONTENT[8 * SECTOR : 9 * SECTOR] + b"\xab" * SECTOR + CONTENT[10 * SECTOR : 11 * SECTOR]
    )


def test_a_request_goes_to_the_disk_as_one_vector() -> None:
    machine = Machine(INDIRECT_DESC)
    guest, ring = machine.guest, machine.ring
    places = [guest.room(SECTOR), guest.room(100), guest.room(SECTOR - 100)]
    status = guest.room(1)
    ring.offer(ring.indirect(guest.place(struct.pack("<IIQ", IN, 0, 1)), *places, status))
    ring.notify()
    assert machine.disk.calls == [f"read {SECTOR} [512, 100, 412]"]
    assert b"".join(map(guest.peek, places)) == CONTENT[SECTOR : 3 * SECTOR]
    assert guest.peek(status) == b"\0"


def test_header_and_status_may_be_cut_anywhere() -> None:
    machine = Machine()
    guest, ring = machine.guest, machine.ring
    header = struct.pack("<IIQ", OUT, 0, 3)
    status = guest.room(1)
    ring.submit(guest.place(header[:5]), guest.place(header[5:] + b"\x11" * SECTOR), status)
    assert guest.peek(status) == b"\0"
    assert machine.disk.content[3 * SECTOR : 4 * SECTOR] == b"\x11" * SECTOR
    whole = guest.room(SECTOR + 1)
    ring.submit(guest.place(struct.pack("<IIQ", IN, 0, 3)), whole)
    assert guest.peek(whole) == b"\x11" * SECTOR + b"\0"


@pytest.mark.parametrize(
    ("kind", "sector", "length"),
    [
        (IN, 64, SECTOR),
        (IN, 63, 2 * SECTOR),
        (IN, 0, 100),
        (IN, 2**64 - 1, SECTOR),
        (IN, 2**55, SECTOR),
        (OUT, 64, SECTOR),
        (OUT, 63, SECTOR + 1),
        (OUT, 2**64 - 1, SECTOR),
    ],
)
def test_transfers_beyond_the_disk_or_of_broken_sectors(
    kind: int, sector: int, length: int
) -> None:
    machine = Machine()
    data, room = (b"\xff" * length, 0) if kind == OUT else (b"", length)
    assert machine.ask(kind, sector, data, room) == IOERR
    assert machine.disk.calls == []
    assert machine.disk.content == CONTENT


def test_flush() -> None:
    machine = Machine()
    assert machine.ask(FLUSH) == OK
    assert machine.disk.calls == ["flush"]


@pytest.mark.parametrize(
    ("features", "flushes"),
    [(FLUSH_FEATURE, False), (FLUSH_FEATURE | CONFIG_WCE, False), (CONFIG_WCE, True), (0, True)],
)
def test_a_driver_that_cannot_flush_gets_no_write_cache(features: int, flushes: bool) -> None:
    machine = Machine(features)
    machine.ask(OUT, 0, bytes(SECTOR))
    assert ("flush" in machine.disk.calls) == flushes
    assert machine.guest.read(CONFIG + 32, 1) == bool(features & FLUSH_FEATURE)


def test_the_driver_may_switch_the_write_cache() -> None:
    machine = Machine(FLUSH_FEATURE | CONFIG_WCE)
    machine.guest.write(CONFIG + 32, 0, 1)
    machine.ask(OUT, 0, bytes(SECTOR))
    assert machine.disk.calls.pop() == "flush"
    machine.guest.write(CONFIG + 32, 1, 1)
    machine.ask(OUT, 0, bytes(SECTOR))
    assert machine.disk.calls.pop() != "flush"
    machine.guest.write(CONFIG + 32, 0, 1)
    machine.guest.write(STATUS, 0)
    assert machine.guest.read(CONFIG + 32, 1) == 1


def test_the_write_cache_cannot_be_switched_without_the_feature() -> None:
    machine = Machine(FLUSH_FEATURE)
    machine.guest.write(CONFIG + 32, 0, 1)
    assert machine.guest.read(CONFIG + 32, 1) == 1


def test_the_serial_number() -> None:
    machine = Machine(serial="root-disk")
    assert machine.ask(GET_ID, room=20) == OK
    assert machine.guest.peek(machine.answer) == b"root-disk".ljust(20, b"\0")
    assert machine.ask(GET_ID, room=4) == OK
    assert machine.guest.peek(machine.answer) == b"root"
    assert machine.ask(GET_ID, room=64) == OK
    assert machine.guest.peek(machine.answer)[20:] == b"\xee" * 44
    with pytest.raises(ValueError, match="longer than 20"):
        VirtioBlock(MemoryDisk(512), "x" * 21)


def span(sector: int, count: int, flags: int = 0) -> bytes:
    return struct.pack("<QII", sector, count, flags)


@pytest.mark.parametrize(
    ("kind", "data", "status", "calls"),
    [
        (DISCARD, span(1, 2), OK, ["discard 512 1024"]),
        (DISCARD, span(1, 2) + span(9, 1), OK, ["discard 512 1024", "discard 4608 512"]),
        (DISCARD, span(0, 64), OK, ["discard 0 32768"]),
        (DISCARD, span(1, 2, 1), UNSUPP, []),
        (DISCARD, span(60, 5), IOERR, []),
        (DISCARD, span(0, 1) + span(64, 1), IOERR, []),
        (DISCARD, span(0, 2**32 - 1), IOERR, []),
        (DISCARD, span(0, 1)[:15], IOERR, []),
        (DISCARD, b"", IOERR, []),
        (DISCARD, span(0, 1) * 65, IOERR, []),
        (WRITE_ZEROES, span(1, 2), OK, ["zero 512 1024 False"]),
        (WRITE_ZEROES, span(1, 2, 1), OK, ["zero 512 1024 True"]),
        (WRITE_ZEROES, span(1, 2, 2), UNSUPP, []),
        (WRITE_ZEROES, span(2**64 - 1, 2), IOERR, []),
        (WRITE_ZEROES, span(1, 1) * 2, IOERR, []),
    ],
)
def test_discarding_and_zeroing(kind: int, data: bytes, status: int, calls: list[str]) -> None:
    machine = Machine()
    assert machine.ask(kind, 0, data) == status
    assert machine.disk.calls == calls


def test_zeroing_without_a_write_cache_is_flushed() -> None:
    machine = Machine(ZEROES_FEATURE)
    assert machine.ask(WRITE_ZEROES, 0, span(1, 1)) == OK
    assert machine.disk.calls == ["zero 512 512 False", "flush"]


@pytest.mark.parametrize("kind", [2, 10, 14, 16, 0xFFFF_FFFF, DISCARD, WRITE_ZEROES])
def test_what_is_not_offered_or_not_accepted_is_not_supported(kind: int) -> None:
    machine = Machine(FLUSH_FEATURE)
    assert machine.ask(kind, 0, span(0, 1)) == UNSUPP
    assert machine.disk.calls == []


def test_a_read_only_disk() -> None:
    machine = Machine(disk=Recorder(readonly=True))
    assert machine.guest.offered & RO
    assert not machine.guest.offered & (DISCARD_FEATURE | ZEROES_FEATURE)
    assert machine.ask(OUT, 0, bytes(SECTOR)) == IOERR
    assert machine.ask(DISCARD, 0, span(0, 1)) == UNSUPP
    assert machine.ask(WRITE_ZEROES, 0, span(0, 1)) == UNSUPP
    assert machine.disk.calls == []
    assert machine.read(0, SECTOR) == CONTENT[:SECTOR]


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("kind", [IN, OUT, FLUSH, DISCARD, WRITE_ZEROES])
def test_failures_of_the_host_are_io_errors_and_events(
    kind: int, code: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("bimetal"), "propagate", True)
    machine = Machine()
    machine.disk.error = code
    data = {OUT: bytes(SECTOR), DISCARD: span(0, 1), WRITE_ZEROES: span(0, 1)}.get(kind, b"")
    assert machine.ask(kind, 0, data, SECTOR if kind == IN else 0) == IOERR
    assert machine.device.events.counts == {"host error: disk memory: I/O error": 1}
    assert ("make room" in caplog.text) == (code == errno.ENOSPC)
    machine.disk.error = None
    assert machine.ask(OUT, 0, bytes(SECTOR)) == OK, "the disk works on"


def test_a_request_without_header_or_status_asks_for_a_reset() -> None:
    for shape in ("short header", "no status"):
        machine = Machine()
        guest = machine.guest
        if shape == "short header":
            machine.ring.submit(guest.place(bytes(15)), guest.room(1))
        else:
            machine.ring.submit(guest.place(bytes(16)))
        assert guest.read(STATUS) & NEEDS_RESET, shape


def test_a_full_queue_is_answered_with_one_interrupt() -> None:
    machine = Machine(EVENT_IDX | INDIRECT_DESC)
    guest, ring = machine.guest, machine.ring
    ring.want_interrupt_after(15)
    requests = []
    for sector in range(16):
        place, status = guest.room(SECTOR), guest.room(1)
        requests.append((sector, place, status))
        ring.offer(ring.indirect(guest.place(struct.pack("<IIQ", IN, 0, sector)), place, status))
    ring.notify()
    assert guest.interrupts == 1
    assert len(ring.completed()) == 16
    for sector, place, status in requests:
        assert guest.peek(place) == CONTENT[sector * SECTOR : (sector + 1) * SECTOR]
        assert guest.peek(status) == b"\0"


def offered(machine: Machine, *kinds: int) -> list[int]:
    """Requests that the driver adds before it tells of them; where each has its status."""
    guest, places = machine.guest, []
    for kind in kinds:
        header, status = guest.place(struct.pack("<IIQ", kind, 0, 0)), guest.room(1)
        data = guest.place(bytes(SECTOR)) if kind == OUT else guest.room(SECTOR)
        machine.ring.offer(machine.ring.indirect(header, data, status))
        places.append(status[0])
    return places


def test_writes_that_come_together_are_settled_once_and_then_answered() -> None:
    disk = Grouping()
    machine = Machine(INDIRECT_DESC | FLUSH_FEATURE, disk)
    places = offered(machine, OUT, IN, OUT)
    unanswered: list[int] = []
    settle = disk.settle

    def settling() -> None:
        unanswered.append(len(machine.ring.completed()))
        settle()

    disk.settle = settling  # type: ignore[method-assign]
    machine.ring.notify()
    assert disk.calls == [
        "hold", f"write 0 [{SECTOR}]", f"read 0 [{SECTOR}]", f"write 0 [{SECTOR}]", "settle",
    ]  # fmt: skip
    assert unanswered == [0]
    assert len(machine.ring.completed()) == 3
    assert [machine.guest.space.read(place, 1) for place in places] == [b"\0"] * 3


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_writes_that_cannot_be_settled_have_failed(
    code: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("bimetal"), "propagate", True)
    disk = Grouping()
    machine = Machine(INDIRECT_DESC | FLUSH_FEATURE, disk)
    places = offered(machine, OUT, IN, OUT)

    def failing() -> None:
        raise OSError(code, os.strerror(code))

    disk.settle = failing  # type: ignore[method-assign]
    machine.ring.notify()
    assert len(machine.ring.completed()) == 3
    status = [machine.guest.space.read(place, 1)[0] for place in places]
    assert status == [IOERR, OK, IOERR], "what was read is right all the same"
    assert machine.device.events.counts == {"host error: disk memory: I/O error": 1}
    assert ("make room" in caplog.text) == (code == errno.ENOSPC)


def test_the_cache_mode_survives_a_snapshot() -> None:
    machine = Machine(FLUSH_FEATURE | CONFIG_WCE)
    machine.guest.write(CONFIG + 32, 0, 1)
    state = machine.guest.slot.save()
    restored = Guest(VirtioBlock(disk := Recorder()))
    restored.ram.bytes[:] = machine.guest.ram.bytes
    restored.slot.load(state)
    machine.guest.slot, machine.guest.space = restored.slot, restored.space
    machine.ask(OUT, 0, bytes(SECTOR))
    assert disk.calls[-1] == "flush"


def test_closing_the_device_closes_the_disk() -> None:
    machine = Machine(VERSION_1)
    machine.guest.slot.close()
    assert machine.disk.closed
