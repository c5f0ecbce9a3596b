"""The controller beside QEMU's: the same driver, and what it sees of a keyboard and a disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bimetal.backends.block.memory import MemoryDisk
from bimetal.devices.scsi.disk import ScsiDisk
from bimetal.devices.usb.descriptors import Speed
from bimetal.devices.usb.keyboard import UsbKeyboard
from bimetal.devices.usb.storage import UsbStorage
from tests.devices.qtest import Qtest
from tests.devices.usb import driver
from tests.devices.usb.driver import BULK_IN, BULK_OUT, Driver, Ours
from tests.devices.usb.test_storage import CSW, SENSE, asked
from tests.host import programs

pytestmark = programs("qemu-system-riscv64")

ECAM, BAR = 0x3000_0000, 0x4000_0000
SLOT = 1 << 15
DISK = 1 << 20


class Theirs:
    """QEMU's controller, on its RISC-V board, with a disk, a keyboard and ``others``."""

    def __init__(self, image: Path, *others: str):
        self.qemu = Qtest(
            *("qemu-system-riscv64", "virt", "-m", "16M"),
            *("-device", "qemu-xhci,addr=1", "-device", "usb-kbd,port=2"),
            *(
                "-drive",
                f"file={image},if=none,id=d,format=raw",
                "-device",
                "usb-storage,drive=d,port=3",
            ),
            *others,
        )
        config = ECAM + SLOT
        self.qemu.write(config + 0x10, BAR)
        self.qemu.write(config + 0x14, 0)
        self.qemu.write(config + 4, 6, 2)

    def read(self, offset: int, size: int = 4) -> int:
        return self.qemu.read(BAR + offset, size)

    def write(self, offset: int, value: int, size: int = 4) -> None:
        self.qemu.write(BAR + offset, value, size)

    def peek(self, address: int, length: int) -> bytes:
        return bytes.fromhex(self.qemu.command(f"read {address:#x} {length:#x}")[2:])

    def poke(self, address: int, data: bytes) -> None:
        if data:
            self.qemu.command(f"write {address:#x} {len(data):#x} 0x{data.hex()}")

    def wait(self) -> None:
        """Let it work on its disk."""
        self.qemu.read(BAR)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Driver, Driver]]:
    image = tmp_path / "disk.img"
    image.write_bytes(b"\x5a" * DISK)
    disk = MemoryDisk(DISK)
    disk.writev(0, [memoryview(b"\x5a" * DISK)])
    ours = Ours(UsbKeyboard(), UsbStorage(ScsiDisk(disk), Speed.SUPER))
    theirs = Theirs(image)
    yield Driver(ours), Driver(theirs, theirs.wait)
    theirs.qemu.close()


def speed(host: Driver, port: int) -> int:
    return host.port(port) >> 10 & 15


def ports(host: Driver) -> dict[int, int]:
    """The ports at which something is, by its speed."""
    return {speed(host, port): port for port in host.connected()}


def test_what_commands_answer(pair: tuple[Driver, Driver]) -> None:
    """Left out: that an endpoint which does not run cannot be stopped (4.6.9), of which QEMU does
    not care."""
    seen = []
    for host in pair:
        port = ports(host)[3]
        codes = [host.command(driver.NO_OP_COMMAND).code, host.command(driver.DISABLE, 1).code]
        host.reset_port(port)
        made = host.command(driver.ENABLE)
        codes += [made.code, host.command(driver.EVALUATE, 9, host.table).code]
        codes += [host.give_address(made.slot, port, 1 << 9).code, host.state(made.slot)]
        codes += [host.give_address(made.slot, port).code, host.state(made.slot)]
        codes += [host.state(made.slot, 1), host.context(made.slot, 0)[3] & 0xFF]
        reset = (driver.RESET_ENDPOINT, made.slot, 0, 1 << 16)
        codes += [host.command(*reset).code, host.descriptor(made.slot, 77, 8)[0]]
        codes += [host.state(made.slot, 1), host.command(*reset).code, host.state(made.slot, 1)]
        ring = host.rings[made.slot, 1]
        where = ring.at + 16 * ring.next | ring.cycle
        codes += [host.command(driver.SET_DEQUEUE, made.slot, where, 1 << 16).code]
        codes += [host.context(made.slot, 1)[2] - ring.at, host.descriptor(made.slot, 1, 18)[0]]
        codes += [host.command(driver.SET_DEQUEUE, made.slot, where, 1 << 16).code]
        codes += [host.command(driver.RESET_DEVICE, made.slot).code, host.state(made.slot)]
        codes += [host.command(driver.DISABLE, made.slot).code]
        seen.append(codes)
    assert seen[0] == seen[1]


def test_what_a_keyboard_says_of_itself(pair: tuple[Driver, Driver]) -> None:
    seen = []
    for host in pair:
        slot = host.address(ports(host)[3])
        device, whole = host.descriptor(slot, 1, 64), host.descriptor(slot, 2, 255)
        seen.append((device[0], device[1][:14], whole[0], whole[1][9:18], whole[1][27:32]))
        assert host.control(slot, 0, 9, 1)[0] == driver.SUCCESS
        assert host.configure(slot, (3, driver.INTERRUPT_IN, 8)).code == driver.SUCCESS
        assert host.control(slot, 0x21, 10)[0] == driver.SUCCESS
        assert host.control(slot, 0xA1, 1, 0x100, 0, 8) == (driver.SUCCESS, bytes(8))
    ours, theirs = seen
    assert ours[0] == theirs[0]
    assert ours[1][8:12] == theirs[1][8:12]
    assert ours[3:] == theirs[3:]


def test_a_disk(pair: tuple[Driver, Driver]) -> None:
    seen = []
    for host in pair:
        slot = host.address(ports(host)[4])
        assert host.control(slot, 0, 9, 1)[0] == driver.SUCCESS
        assert host.configure(slot, (3, BULK_IN, 1024), (4, BULK_OUT, 1024)).code == 1
        for cdb in (b"\0" * 6, SENSE):  # QEMU tells of a reset first
            asked(host, slot, cdb, 18 * (cdb == SENSE))
        told = []
        for cdb, room, data in (
            (b"\x12\0\0\0\x24\0", 36, b""),
            (b"\0" * 6, 0, b""),
            (b"\x25" + bytes(9), 8, b""),
            (b"\x28\0\0\0\0\x07\0\0\2\0", 1024, b""),
            (b"\x2a\0\0\0\0\x07\0\0\1\0", 0, b"new" + bytes(509)),
            (b"\x28\0\0\0\0\x07\0\0\1\0", 2048, b""),
            (b"\x28\0\0\1\0\x07\0\0\1\0", 512, b""),
            (b"\x03\0\0\0\x12\0", 18, b""),
            (b"\xff" + bytes(9), 0, b""),
            (b"\x03\0\0\0\x12\0", 18, b""),
        ):
            got, status = asked(host, slot, cdb, room, data)
            _, _, left, code = CSW.unpack(status)
            if cdb[0] == 3:
                got = got[2:3] + got[12:14]  # key, code, qualifier
            # QEMU fills up what the host wants, and tells in the status what counts.
            got = got[: max(room - left, 0)]
            told.append((got[:8] if cdb[0] == 0x12 else got, left, code))
        seen.append(told)
    ours, theirs = seen
    assert ours[1:] == theirs[1:]
    assert ours[0][0][:2] == theirs[0][0][:2]
