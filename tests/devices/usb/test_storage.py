"""Disks and CD-ROM drives on USB: commands, data and status, as a driver sends and gets them."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Sequence

import pytest

from bimetal.backends.block.memory import MemoryDisk
from bimetal.devices.answers import Answer
from bimetal.devices.scsi.cdrom import ScsiCdrom
from bimetal.devices.scsi.disk import ScsiDisk
from bimetal.devices.usb import storage
from bimetal.devices.usb.descriptors import Speed
from bimetal.devices.usb.storage import UsbStorage
from bimetal.devices.virtio.aside import Errand
from tests.devices.usb.driver import (
    BULK_IN,
    BULK_OUT,
    SHORT,
    STALL,
    SUCCESS,
    TRANSFER_EVENT,
    Driver,
    Ours,
)

CBW, CSW = struct.Struct("<IIIBBB16s"), struct.Struct("<IIIB")
IN, OUT = 3, 4
SIZE = 1 << 20
READ, WRITE = b"\x28\0\0\0\0\1\0\0\2\0", b"\x2a\0\0\0\0\1\0\0\2\0"
"""2 blocks from block 1 on."""
SENSE = b"\x03\0\0\0\x12\0"


def command(cdb: bytes, room: int, data: bytes = b"", tag: int = 7) -> bytes:
    length = room or len(data)
    return CBW.pack(0x4342_5355, tag, length, 0x80 * (room > 0), 0, len(cdb), cdb)


def asked(
    host: Driver, slot: int, cdb: bytes, room: int = 0, data: bytes = b""
) -> tuple[bytes, bytes]:
    """A command: what was read, and the packet that says how it went."""
    assert host.move(slot, OUT, data=command(cdb, room, data))[0] == SUCCESS
    got = b""
    if room:
        code, got = host.move(slot, IN, room)
        assert code in (SUCCESS, SHORT)
    if data:
        assert host.move(slot, OUT, data=data)[0] == SUCCESS
    code, status = host.move(slot, IN, 13)
    assert (code, status[:8]) == (SUCCESS, struct.pack("<II", 0x5342_5355, 7))
    return got, status


def started(device: UsbStorage) -> tuple[Driver, Ours, int]:
    wires = Ours(device)
    host = Driver(wires)
    (port,) = host.connected()
    slot = host.address(port)
    assert host.control(slot, 0, 9, 1)[0] == SUCCESS
    assert host.configure(slot, (IN, BULK_IN, 1024), (OUT, BULK_OUT, 1024)).code == SUCCESS
    return host, wires, slot


@pytest.fixture(params=[Speed.HIGH, Speed.SUPER])
def stick(request: pytest.FixtureRequest) -> UsbStorage:
    return UsbStorage(ScsiDisk(MemoryDisk(SIZE), "S1", removable=True), request.param, "S1")


def test_a_disk_is_written_and_read(stick: UsbStorage) -> None:
    host, _, slot = started(stick)
    data = bytes(range(256)) * 4
    assert CSW.unpack(asked(host, slot, WRITE, data=data)[1])[2:] == (0, 0)
    got, status = asked(host, slot, READ, 1024)
    assert (got, CSW.unpack(status)[2:]) == (data, (0, 0))
    assert asked(host, slot, b"\x12\0\0\0\x24\0", 36)[0][1] == 0x80  # removable
    assert host.control(slot, 0xA1, 0xFE, length=1) == (SUCCESS, b"\0")
    assert host.descriptor(slot, 3, 10, 3) == (SUCCESS, b"\x06\x03S\x001\x00")


def test_less_data_than_wanted(stick: UsbStorage) -> None:
    host, _, slot = started(stick)
    got, status = asked(host, slot, b"\x25" + bytes(9), 100)
    assert got == struct.pack(">II", SIZE // 512 - 1, 512)
    assert CSW.unpack(status)[2:] == (92, 0)


def test_what_was_wrong_is_told_once(stick: UsbStorage) -> None:
    host, _, slot = started(stick)
    got, status = asked(host, slot, b"\x28\0\1\0\0\0\0\0\1\0", 512)
    assert (got, CSW.unpack(status)[2:]) == (b"", (512, 1))
    sense, status = asked(host, slot, SENSE, 18)
    assert (sense[2], sense[12], CSW.unpack(status)[3]) == (5, 0x21, 0)
    assert asked(host, slot, SENSE, 18)[0][2] == 0


def test_what_is_no_command_takes_a_reset(stick: UsbStorage) -> None:
    host, _, slot = started(stick)
    for wrong in (b"", b"USBC", command(READ, 1024)[:30], command(READ, 1024) + b"x", b"x" * 31):
        assert host.move(slot, OUT, data=wrong or b"\0")[0] == STALL
        host.recover(slot, OUT)
        assert host.control(slot, 2, 1, 0, 2)[0] == SUCCESS  # not by clearing the halt alone
        assert host.move(slot, OUT, data=command(READ, 1024))[0] == STALL
        host.recover(slot, OUT)
        assert host.control(slot, 0x21, 0xFF)[0] == SUCCESS
        assert host.control(slot, 2, 1, 0, 2)[0] == host.control(slot, 2, 1, 0, 0x81)[0] == SUCCESS
        assert asked(host, slot, b"\0" * 6)[1][12] == 0


def test_data_in_several_transfers(stick: UsbStorage) -> None:
    host, _, slot = started(stick)
    assert host.move(slot, OUT, data=command(WRITE, 0, bytes(1024)))[0] == SUCCESS
    for part in (b"a" * 512, b"b" * 512):
        assert host.move(slot, OUT, data=part) == (SUCCESS, part)
    assert host.move(slot, IN, 13)[1][12] == 0
    assert host.move(slot, OUT, data=command(READ, 1024))[0] == SUCCESS
    assert host.move(slot, IN, 512) == (SUCCESS, b"a" * 512)
    assert host.move(slot, IN, 512) == (SUCCESS, b"b" * 512)
    assert host.move(slot, IN, 13)[1][12] == 0


def test_more_data_than_one_command_may_have(
    stick: UsbStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "DATA_LIMIT", 512)
    host, _, slot = started(stick)
    assert CSW.unpack(asked(host, slot, READ, 1024)[1])[2:] == (1024, 1)
    assert CSW.unpack(asked(host, slot, WRITE, data=bytes(1024))[1])[2:] == (1024, 1)
    assert not stick.data
    assert asked(host, slot, SENSE, 18)[0][12] == 0x24


def test_a_medium_is_changed() -> None:
    drive = ScsiCdrom(MemoryDisk(4096))
    host, _, slot = started(UsbStorage(drive, Speed.HIGH))
    assert asked(host, slot, b"\x25" + bytes(9), 8)[0] == struct.pack(">II", 1, 2048)
    drive.insert(MemoryDisk(8192))
    assert asked(host, slot, b"\0" * 6)[1][12] == 1
    assert asked(host, slot, SENSE, 18)[0][12] == 0x28
    assert asked(host, slot, b"\x25" + bytes(9), 8)[0] == struct.pack(">II", 3, 2048)


class Later:
    """Does work aside when it is told to."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Sequence[Callable[[], None]], Callable[[], None]]] = []

    def __call__(self, jobs: Sequence[Callable[[], None]], done: Callable[[], None]) -> Errand:
        self.jobs.append((jobs, done))
        return self

    def finish(self) -> None:
        jobs, done = self.jobs.pop()
        for job in jobs:
            job()
        done()


def test_the_guest_goes_on_while_the_host_works() -> None:
    aside, disk = Later(), MemoryDisk(SIZE)
    host, _, slot = started(UsbStorage(ScsiDisk(disk), Speed.SUPER, "", aside))
    host.submit(slot, OUT, data=command(b"\x35" + bytes(9), 0))  # flush
    host.submit(slot, IN, 13)
    assert [event.endpoint for event in host.take()] == [OUT]
    assert host.control(slot, 0x80, 8, length=1) == (SUCCESS, b"\1")
    aside.finish()
    assert host.await_event(TRANSFER_EVENT).endpoint == IN


class Full(MemoryDisk):
    """A disk for which the host has no room at first."""

    def __init__(self) -> None:
        super().__init__(SIZE)
        self.room = False

    def writev(self, offset: int, buffers: Sequence[memoryview]) -> None:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().writev(offset, buffers)

    def write_now(self, offset: int, buffers: Sequence[memoryview]) -> bool:
        return False


@pytest.mark.parametrize("aside", [Later(), None])
def test_a_write_for_which_the_host_has_no_room_is_tried_again(aside: Later | None) -> None:
    disk, told = Full(), list[int | None]()
    unit = ScsiDisk(disk)
    device = UsbStorage(unit, Speed.SUPER, "", aside)

    def stop(error: OSError, writes: bool) -> Answer:
        told.append(error.errno)
        assert writes
        return Answer.STOP

    def work() -> None:
        if aside is not None:
            aside.finish()

    unit.answers = stop
    host, _, slot = started(device)
    assert host.move(slot, OUT, data=command(WRITE, 0, bytes(1024)))[0] == SUCCESS
    assert host.move(slot, OUT, data=b"x" * 1024)[0] == SUCCESS
    work()
    assert told == [errno.ENOSPC]
    disk.room = True
    device.try_again()
    work()
    assert host.move(slot, IN, 13)[1][12] == 0
    assert disk.content[512:1536] == b"x" * 1024


@pytest.mark.parametrize("aside", [Later(), None])
def test_an_error_is_ignored_if_that_is_the_answer(aside: Later | None) -> None:
    unit = ScsiDisk(Full())
    unit.answers = lambda error, writes: Answer.IGNORE if writes else Answer.REPORT
    host, _, slot = started(UsbStorage(unit, Speed.SUPER, "", aside))
    assert host.move(slot, OUT, data=command(WRITE, 0, bytes(1024)))[0] == SUCCESS
    assert host.move(slot, OUT, data=b"x" * 1024)[0] == SUCCESS
    if aside is not None:
        aside.finish()
    assert host.move(slot, IN, 13)[1][12] == 0


def test_it_is_begun_anew_by_a_machine_that_was_saved_meanwhile() -> None:
    unit = ScsiDisk(Full())
    device = UsbStorage(unit, Speed.SUPER)
    unit.answers = lambda error, writes: Answer.STOP
    host, _, slot = started(device)
    host.move(slot, OUT, data=command(WRITE, 0, bytes(1024)))
    host.move(slot, OUT, data=b"x" * 1024)
    device.settle()
    disk, status = MemoryDisk(SIZE), bytearray(13)
    restored = UsbStorage(ScsiDisk(disk), Speed.SUPER)
    restored.load(device.save())
    assert restored.transfer(0x81, [memoryview(status)]) == 13
    assert status[12] == 0
    assert disk.content[512:1536] == b"x" * 1024


def test_what_waits_is_finished_before_a_snapshot_and_given_up_by_a_reset() -> None:
    aside = Later()
    host, wires, slot = started(UsbStorage(ScsiDisk(MemoryDisk(SIZE)), Speed.SUPER, "", aside))
    device = wires.controller.devices[1]
    host.submit(slot, OUT, data=command(b"\x35" + bytes(9), 0))
    device.settle()
    assert not aside.jobs
    assert host.move(slot, IN, 13)[1][12] == 0
    host.submit(slot, OUT, data=command(b"\x35" + bytes(9), 0))
    device.reset()
    assert not aside.jobs
