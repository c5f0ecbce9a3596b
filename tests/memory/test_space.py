"""Regions, their overlaps, and what devices may reach."""

import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimetal.base.errors import BimetalError
from bimetal.memory.access import ANY
from bimetal.memory.ram import Ram
from bimetal.memory.space import AddressSpace, BadAddress, Region
from bimetal.seam import MemorySlot


class Probe:
    """A device that remembers."""

    name, access = "probe", ANY

    def read(self, offset: int, size: int) -> int:
        return offset

    def write(self, offset: int, size: int, value: int) -> None:
        raise AssertionError


def test_ram_is_what_its_host_address_shows() -> None:
    ram = Ram("ram", 0x10000)
    assert ram.host % 4096 == 0
    ram.bytes[0x1234:0x1238] = b"seam"
    assert ctypes.string_at(ram.host + 0x1234, 4) == b"seam"
    ram.clear()
    assert bytes(ram.bytes[0x1234:0x1238]) == bytes(4)
    ram.close()
    ram.close()


@pytest.mark.parametrize("size", [0, -4096, 4095, 4097])
def test_ram_has_whole_pages(size: int) -> None:
    with pytest.raises(ValueError, match="multiple of 0x1000"):
        Ram("odd", size)


def test_more_memory_than_a_host_can_have_is_the_users_error() -> None:
    with pytest.raises(BimetalError, match="no 8192 TiB of memory"):
        Ram("huge", 1 << 53)


def machine_space() -> tuple[AddressSpace, Ram, Ram]:
    space, ram, rom = AddressSpace(), Ram("ram", 0x4000), Ram("rom", 0x1000, readonly=True)
    space.add_memory(ram, 0x8000_0000)
    space.add_memory(rom, 0x1000)
    space.add_device(Probe(), 0x1000_0000, 0x100)
    return space, ram, rom


def test_find_looks_at_both_ends() -> None:
    space, *_ = machine_space()
    table = {
        0xFFF: None, 0x1000: "rom", 0x1FFF: "rom", 0x2000: None,
        0x0FFF_FFFF: None, 0x1000_0000: "probe", 0x1000_00FF: "probe", 0x1000_0100: None,
        0x7FFF_FFFF: None, 0x8000_0000: "ram", 0x8000_3FFF: "ram", 0x8000_4000: None,
        (1 << 64) - 1: None,
    }  # fmt: skip
    for address, name in table.items():
        region = space.find(address)
        assert (region.name if region else None) == name, hex(address)


def test_an_overlap_names_both_parties() -> None:
    space, *_ = machine_space()
    with pytest.raises(ValueError, match=r"intruder \(0x80003000-0x80003fff\) overlaps ram"):
        space.add_memory(Ram("intruder", 0x1000), 0x8000_3000)
    with pytest.raises(ValueError, match=r"probe \(0xff0-0x1000\) overlaps rom"):
        space.add_device(Probe(), 0xFF0, 0x11)


def test_slots_are_the_memory() -> None:
    space, ram, rom = machine_space()
    assert space.slots() == [
        MemorySlot(0x1000, 0x1000, rom.host, readonly=True),
        MemorySlot(0x8000_0000, 0x4000, ram.host),
    ]


def test_a_flash_leaves_the_slots_while_it_takes_commands() -> None:
    space, flash = AddressSpace(), Ram("flash", 0x1000)
    region = space.add(Region(0x2000_0000, 0x1000, "flash", memory=flash, device=Probe()))
    assert space.slots() == [MemorySlot(0x2000_0000, 0x1000, flash.host, readonly=True)]
    before = space.generation
    space.set_direct(region, False)
    assert space.slots() == []
    assert space.generation > before
    with pytest.raises(BadAddress):
        space.view(0x2000_0000, 1)
    assert space.mtree() == "0000000020000000-0000000020000fff romd (commands) flash"


def test_dma_stays_inside_one_memory() -> None:
    space, ram, _ = machine_space()
    space.write(0x8000_0FFE, b"strip")
    assert bytes(ram.bytes[0xFFE:0x1003]) == b"strip"
    assert space.read(0x8000_0FFE, 5) == b"strip"
    assert len(space.view(0x8000_0000, 0x4000)) == 0x4000
    for address, length in [(0x8000_3FFF, 2), (0x7FFF_FFFF, 2), (0x1000_0000, 4), (1 << 70, 1)]:
        with pytest.raises(BadAddress):
            space.view(address, length)
    with pytest.raises(BadAddress, match="read-only"):
        space.write(0x1000, b"x")
    space.load(0x1000, b"x")
    assert space.read(0x1000, 1) == b"x"


@given(st.integers(-10, 1 << 65), st.integers(-10, 1 << 65))
def test_no_range_of_numbers_reaches_other_memory(address: int, length: int) -> None:
    space = AddressSpace()
    ram = Ram("ram", 0x1000)
    space.add_memory(ram, 0x1000)
    try:
        view = space.view(address, length)
    except BadAddress:
        return
    assert 0x1000 <= address <= 0x2000
    assert len(view) == length
    assert address + length <= 0x2000


def test_mtree() -> None:
    space, *_ = machine_space()
    assert space.mtree().splitlines() == [
        "0000000000001000-0000000000001fff rom   rom",
        "0000000010000000-00000000100000ff mmio  probe",
        "0000000080000000-0000000080003fff ram   ram",
    ]
