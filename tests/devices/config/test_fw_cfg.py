"""The firmware configuration device as firmware uses it, and as a hostile guest does."""

import struct
from collections.abc import Callable

import pytest

from bimetal.base.errors import BimetalError, GuestError
from bimetal.base.state import BadState
from bimetal.devices.config.fw_cfg import FwCfg, Item
from bimetal.memory.access import Refused
from bimetal.memory.ram import Ram
from bimetal.memory.space import AddressSpace

DATA, SELECTOR, DMA = 0x0, 0x8, 0x10
RAM = 0x8000_0000
ERROR, READ, SKIP, SELECT, WRITE = 1, 2, 4, 8, 16


def big(value: int, size: int) -> int:
    """What a little-endian guest stores for a big-endian register to see ``value``."""
    return int.from_bytes(value.to_bytes(size, "big"), "little")


class Firmware:
    """A guest with 64 KiB of RAM that asks."""

    def __init__(
        self, memory: int = 0x1_0000, defer: Callable[[Callable[[], None]], None] | None = None
    ) -> None:
        self.space = AddressSpace()
        self.space.add_memory(Ram("ram", memory), RAM)
        self.device = FwCfg(self.space, defer)

    def item(self, number: int, length: int, size: int = 1) -> bytes:
        self.device.write(SELECTOR, 2, big(number, 2))
        return b"".join(
            self.device.read(DATA, size).to_bytes(size, "little") for _ in range(length // size)
        )

    def dma(self, control: int, length: int, target: int, request: int = RAM) -> int:
        if RAM <= request < RAM + 0x1_0000 - 15:
            self.space.write(request, struct.pack(">IIQ", control, length, target))
        self.device.write(DMA, 4, big(request >> 32, 4))
        self.device.write(DMA + 4, 4, big(request & 0xFFFF_FFFF, 4))
        return self.answer(RAM)

    def answer(self, request: int) -> int:
        """The first word of a request."""
        return int.from_bytes(self.space.read(request, 4), "big")


def test_the_signature_says_who_it_is() -> None:
    firmware = Firmware()
    assert firmware.item(Item.SIGNATURE, 4) == b"QEMU"
    assert firmware.item(Item.ID, 4) == bytes((3, 0, 0, 0))
    assert firmware.device.read(DMA, 8).to_bytes(8, "little") == b"QEMU CFG"
    assert firmware.device.read(DMA + 4, 4).to_bytes(4, "little") == b" CFG"


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_any_width_reads_the_bytes_in_order_and_zeroes_after_the_end(size: int) -> None:
    firmware = Firmware()
    firmware.device.add(Item.COMMAND_LINE, b"console=ttyS0")
    assert firmware.item(Item.COMMAND_LINE, 16, size) == b"console=ttyS0\0\0\0"


def test_files_are_found_by_name() -> None:
    firmware = Firmware()
    firmware.device.add_file("opt/b", b"second")
    firmware.device.add_file("etc/a", b"first!!")
    firmware.device.add_file("opt/b", b"replaced")
    directory = firmware.item(Item.FILE_DIRECTORY, 4 + 2 * 64)
    assert struct.unpack_from(">I", directory) == (2,)
    entries = {}
    for number in range(2):
        size, key, _, name = struct.unpack_from(">IHH56s", directory, 4 + 64 * number)
        entries[name.rstrip(b"\0").decode()] = firmware.item(key, size)
    assert entries == {"etc/a": b"first!!", "opt/b": b"replaced"}


def test_dma_selects_skips_and_reads() -> None:
    firmware = Firmware()
    firmware.device.add(Item.KERNEL_DATA, b"0123456789")
    assert firmware.dma(SELECT | SKIP | Item.KERNEL_DATA << 16, 4, 0) == 0
    assert firmware.dma(READ, 8, RAM + 0x100) == 0
    assert firmware.space.read(RAM + 0x100, 8) == b"456789\0\0"
    assert firmware.dma(SELECT | READ | Item.KERNEL_DATA << 16, 3, RAM + 0x200) == 0
    assert firmware.space.read(RAM + 0x200, 4) == b"012\0"


def test_one_write_of_eight_bytes_starts_dma_too() -> None:
    firmware = Firmware()
    request = struct.pack(">IIQ", SELECT | READ | Item.SIGNATURE << 16, 4, RAM + 0x100)
    firmware.space.write(RAM, request)
    firmware.device.write(DMA, 8, big(RAM, 8))
    assert firmware.space.read(RAM + 0x100, 4) == b"QEMU"


@pytest.mark.parametrize(
    ("control", "length", "target"),
    [
        (SELECT | READ, 4, 0),
        (SELECT | READ, 0x1_0001, RAM),
        (SELECT | READ, 0xFFFF_FFFF, RAM),
        (SELECT | READ, 4, (1 << 64) - 2),
        (SELECT | WRITE, 4, RAM),
    ],
)
def test_dma_that_cannot_be_done_says_so(control: int, length: int, target: int) -> None:
    firmware = Firmware()
    assert firmware.dma(control, length, target) == ERROR
    assert sum(firmware.device.events.counts.values()) == 1


@pytest.mark.parametrize("request_at", [0, RAM - 8, RAM + 0x1_0000 - 15, (1 << 64) - 1])
def test_a_request_outside_of_memory_is_a_guest_error(request_at: int) -> None:
    firmware = Firmware()
    firmware.dma(READ, 4, RAM, request_at)
    assert list(firmware.device.events.counts) == [
        "guest error: fw_cfg DMA request outside of memory"
    ]


def test_a_long_transfer_gives_others_a_turn_and_the_guest_sees_that_it_goes_on() -> None:
    deferred: list[Callable[[], None]] = []
    firmware = Firmware(16 << 20, deferred.append)
    firmware.device.add(Item.KERNEL_DATA, b"kernel" + bytes(5 << 20) + b"end")
    control = SELECT | READ | Item.KERNEL_DATA << 16
    length = 10 << 20
    assert firmware.dma(control, length, RAM + 0x1000) == control
    second = RAM + 0x100
    assert firmware.dma(control, 4, RAM + 0x200, second) == control, "the first is not disturbed"
    assert firmware.answer(second) == ERROR
    turns = 0
    while deferred:
        assert firmware.answer(RAM) == control
        deferred.pop()()
        turns += 1
    assert (turns, firmware.answer(RAM)) == (2, 0)
    expected = (b"kernel" + bytes(5 << 20) + b"end").ljust(length, b"\0")
    assert firmware.space.read(RAM + 0x1000, length) == expected


def test_a_reset_ends_a_transfer() -> None:
    deferred: list[Callable[[], None]] = []
    firmware = Firmware(16 << 20, deferred.append)
    control = SELECT | READ | Item.KERNEL_DATA << 16
    firmware.dma(control, 10 << 20, RAM + 0x1000)
    firmware.space.write(RAM + (9 << 20), b"new")
    firmware.device.reset()
    for turn in deferred:
        turn()
    assert firmware.answer(RAM) == control
    assert firmware.space.read(RAM + (9 << 20), 3) == b"new"


def test_a_transfer_goes_on_after_a_snapshot() -> None:
    deferred: list[Callable[[], None]] = []
    firmware = Firmware(16 << 20, deferred.append)
    firmware.device.add(Item.KERNEL_DATA, b"x" * (10 << 20))
    firmware.dma(SELECT | READ | Item.KERNEL_DATA << 16, 10 << 20, RAM + 0x1000)
    other = Firmware(16 << 20, deferred.append)
    other.space.write(RAM, firmware.space.read(RAM, 16 << 20))
    other.device.load(firmware.device.save())
    deferred.pop(0)
    while deferred:
        deferred.pop()()
    assert other.answer(RAM) == 0
    assert other.space.read(RAM + 0x1000, 10 << 20) == b"x" * (10 << 20)


@pytest.mark.parametrize(("offset", "size"), [(8, 1), (8, 4), (0xA, 2), (0x10, 2), (0x14, 2)])
def test_registers_refuse_writes_of_other_widths(offset: int, size: int) -> None:
    firmware = Firmware()
    with pytest.raises(Refused, match=f"write of {size} bytes"):
        firmware.device.write(offset, size, 0)


@pytest.mark.parametrize(("offset", "size"), [(1, 1), (4, 4), (8, 2), (8, 8), (0xC, 4)])
def test_where_nothing_is_to_be_read(offset: int, size: int) -> None:
    firmware = Firmware()
    with pytest.raises(Refused, match="nothing to read"):
        firmware.device.read(offset, size)
    assert firmware.item(Item.SIGNATURE, 4) == b"QEMU"


def test_items_are_not_written() -> None:
    firmware = Firmware()
    firmware.device.write(DATA, 4, 0)
    assert sum(firmware.device.events.counts.values()) == 1


def test_a_file_that_somebody_listens_to_is_written_by_dma() -> None:
    firmware, heard = Firmware(), list[bytes]()
    firmware.device.add_writable_file("etc/a", b"abcdef", heard.append)
    firmware.space.write(RAM + 0x100, b"XY")
    number = Item.FIRST_FILE << 16
    assert firmware.dma(SELECT | SKIP | number, 3, 0) == 0
    assert firmware.dma(WRITE, 2, RAM + 0x100) == 0
    assert firmware.dma(WRITE, 1, RAM + 0x101) == 0
    assert heard == [b"abcXYf", b"abcXYY"]
    assert firmware.item(Item.FIRST_FILE, 6) == b"abcXYY"
    firmware.device.reset()
    assert heard[2:] == [b"abcdef"]
    assert not firmware.device.events.counts


@pytest.mark.parametrize(("length", "source"), [(7, RAM), (4, 0), (0xFFFF_FFFF, RAM)])
def test_writes_that_cannot_be_done_say_so(length: int, source: int) -> None:
    firmware, heard = Firmware(), list[bytes]()
    firmware.device.add_writable_file("etc/a", b"abcdef", heard.append)
    assert firmware.dma(SELECT | WRITE | Item.FIRST_FILE << 16, length, source) == ERROR
    assert sum(firmware.device.events.counts.values()) == 1
    assert firmware.item(Item.FIRST_FILE, 6) == b"abcdef"
    assert not heard


def test_who_listens_may_find_fault() -> None:
    def refuse(content: bytes) -> None:
        raise GuestError("not like that")

    firmware = Firmware()
    firmware.device.add_writable_file("etc/a", b"abcdef", refuse)
    assert firmware.dma(SELECT | WRITE | Item.FIRST_FILE << 16, 1, RAM) == 0
    assert firmware.device.events.counts == {"guest error: not like that": 1}


def test_a_state_with_other_files_is_refused() -> None:
    firmware, other = Firmware(), Firmware()
    firmware.device.add_writable_file("etc/a", b"abcdef", lambda content: None)
    other.device.add_file("etc/a", b"abc")
    with pytest.raises(BadState, match="writable files"):
        firmware.device.load(other.device.save())


def test_a_name_that_is_too_long_is_the_users_error() -> None:
    with pytest.raises(BimetalError, match="too long"):
        Firmware().device.add_file("x" * 56, b"")


def test_a_snapshot_keeps_items_and_position() -> None:
    firmware, other = Firmware(), Firmware()
    firmware.device.add_file("etc/a", b"abcdef")
    assert firmware.item(Item.FIRST_FILE, 2) == b"ab"
    other.device.load(firmware.device.save())
    assert other.device.read(DATA, 4).to_bytes(4, "little") == b"cdef"
