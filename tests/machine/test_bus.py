"""How accesses of every width and alignment reach a device."""

from __future__ import annotations

import pytest

from bimetal.machine.bus import Bus
from bimetal.memory.access import Access
from bimetal.memory.ram import Ram
from bimetal.memory.space import AddressSpace

AT = 0x1000_0000
VALUE = 0x8877_6655_4433_2211


class Probe:
    """Notes what reaches it, and answers with its own addresses."""

    def __init__(self, access: Access, name: str = "probe"):
        self.access, self.name = access, name
        self.seen: list[tuple[int, int] | tuple[int, int, int]] = []

    def read(self, offset: int, size: int) -> int:
        self.seen.append((offset, size))
        return int.from_bytes(bytes(offset + n & 0xFF for n in range(size)), "little")

    def write(self, offset: int, size: int, value: int) -> None:
        self.seen.append((offset, size, value))


def bus(*probes: tuple[int, int, Probe], floating: int = 0) -> Bus:
    space = AddressSpace()
    for base, size, probe in probes:
        space.add_device(probe, base, size)
    return Bus(space, "bus", floating)


def both(access: Access, offset: int, size: int) -> tuple[Probe, Bus, int]:
    """A read and a write of the same place."""
    probe = Probe(access)
    wires = bus((AT, 0x100, probe))
    answer = wires.read(AT + offset, size)
    wires.write(AT + offset, size, VALUE & (1 << 8 * size) - 1)
    return probe, wires, answer


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_what_a_device_takes_reaches_it_as_it_is(size: int) -> None:
    probe, _, answer = both(Access(), 8, size)
    assert answer == int.from_bytes(bytes(range(8, 8 + size)), "little")
    assert probe.seen == [(8, size), (8, size, VALUE & (1 << 8 * size) - 1)]


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_only_the_lowest_byte_is_connected(size: int) -> None:
    probe, _, answer = both(Access(width=1, lowest=True), 8, size)
    assert answer == 8, "once, and no neighbour"
    assert probe.seen == [(8, 1), (8, 1, 0x11)]


@pytest.mark.parametrize(("width", "size"), [(1, 2), (1, 4), (1, 8), (2, 4), (4, 8)])
def test_a_wide_access_is_cut_in_ascending_order(width: int, size: int) -> None:
    probe, _, answer = both(Access(width=width), 8, size)
    assert answer == int.from_bytes(bytes(range(8, 8 + size)), "little")
    places = range(0, size, width)
    reads = [(8 + n, width) for n in places]
    writes = [(8 + n, width, VALUE >> 8 * n & (1 << 8 * width) - 1) for n in places]
    assert probe.seen == reads + writes


@pytest.mark.parametrize(("sizes", "size"), [((4,), 1), ((4,), 2), ((4,), 8), ((1,), 4)])
def test_other_sizes_are_refused(sizes: tuple[int, ...], size: int) -> None:
    probe, wires, answer = both(Access(sizes), 8, size)
    assert (answer, probe.seen) == (0, [])
    assert wires.events.counts == {f"guest error: probe: no access of {size} bytes": 2}


@pytest.mark.parametrize(("offset", "size"), [(1, 2), (1, 4), (2, 4), (3, 4), (4, 8), (7, 8)])
def test_a_misaligned_access_goes_byte_by_byte(offset: int, size: int) -> None:
    for access in (Access(), Access(width=1, lowest=True)):
        probe, _, answer = both(access, offset, size)
        assert answer == int.from_bytes(bytes(range(offset, offset + size)), "little")
        reads = [(offset + n, 1) for n in range(size)]
        assert probe.seen == reads + [(offset + n, 1, VALUE >> 8 * n & 0xFF) for n in range(size)]


def test_a_misaligned_access_to_words_is_refused() -> None:
    probe, wires, answer = both(Access((4,)), 2, 4)
    assert (answer, probe.seen) == (0, [])
    assert sum(wires.events.counts.values()) == 8


def test_an_access_goes_on_behind_the_end_of_a_device() -> None:
    first, second = Probe(Access(width=1), "first"), Probe(Access(width=1), "second")
    ports = bus((0x70, 2, first), (0x72, 1, second), floating=0xFF)
    assert ports.read(0x70, 4) == 0xFF00_0100
    ports.write(0x71, 2, 0xBBAA)
    assert first.seen == [(0, 1), (1, 1), (1, 1, 0xAA)]
    assert second.seen == [(0, 1), (0, 1, 0xBB)]


def test_an_access_over_the_end_of_memory() -> None:
    space = AddressSpace()
    space.add_memory(Ram("ram", 0x1000), AT)
    wires = Bus(space, "bus")
    wires.write(AT + 0xFFC, 8, VALUE)
    assert wires.read(AT + 0xFFC, 8) == VALUE & 0xFFFF_FFFF


def test_an_access_that_no_bus_has() -> None:
    with pytest.raises(ValueError, match="no bus"):
        Access((3,))
    with pytest.raises(ValueError, match="no bus"):
        Access(width=16)
