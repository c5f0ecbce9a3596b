"""Headers, base addresses and capabilities, as configuration software finds them."""

from __future__ import annotations

import pytest

from bimetal.devices.pci.bar import Bar, Kind
from bimetal.devices.pci.capabilities import IntegratedCapability, PowerManagement
from tests.devices.pci.tree import (
    BAR,
    COMMAND,
    HIGH,
    INTX_OFF,
    IO,
    IO_ON,
    LOW,
    MASTER,
    MEMORY_ON,
    PIN,
    STATUS,
    VENDOR,
    Card,
    Scratch,
    Tree,
)

ONES = 0xFFFF_FFFF


def test_an_access_reaches_all_registers_in_its_bytes() -> None:
    tree = Tree(Card())
    assert tree.read(1, VENDOR) == 0x5678_1234
    assert tree.read(1, VENDOR + 2, 2) == 0x5678
    assert tree.read(1, VENDOR + 1, 1) == 0x12
    assert tree.read(1, 0x08) == 0xFF_0102_03
    assert tree.read(1, 0x2C) == 0xDEF0_9ABC
    tree.write(1, COMMAND, ONES)
    assert tree.read(1, COMMAND) == 0x0000_0547, "the status beside it is not writable"
    tree.write(1, 0x3C, 0x1122_3344)
    assert tree.read(1, 0x3C) == 0x0000_0144, "software's number of the line, and the pin"


def test_what_is_not_there_reads_as_zeros_and_takes_writes() -> None:
    tree = Tree(Card())
    for offset in (0x28, 0x30, 0x38, 0x40, 0xFC, 0x100, 0xFFC):
        tree.write(1, offset, ONES)
        assert tree.read(1, offset) == 0
    assert not tree.host.bus.at(8).events.counts  # type: ignore[union-attr]


def test_no_function_reads_as_ones() -> None:
    tree = Tree(Card())
    for slot, bus, number in ((2, 0, 0), (1, 0, 1), (0, 1, 0), (31, 255, 7)):
        tree.write(slot, COMMAND, 0, bus=bus, number=number)
        assert tree.read(slot, VENDOR, bus=bus, number=number) == ONES
        assert tree.read(slot, VENDOR, 2, bus=bus, number=number) == 0xFFFF
    assert tree.read(0, VENDOR) == 0x0008_1B36
    assert tree.read(0, 0x08) >> 8 == 0x06_0000


def test_base_addresses_tell_their_sizes() -> None:
    tree = Tree(Card())
    assert [tree.read(1, BAR + 4 * n) for n in range(6)] == [1, 0, 0xC, 0, 0, 0]
    for n in range(6):
        tree.write(1, BAR + 4 * n, ONES)
    assert [tree.read(1, BAR + 4 * n) for n in range(6)] == [
        *(0xFFFF_FFE1, 0xFFFF_F000, 0xFFFF_C00C, ONES, 0, 0)
    ]


def test_ranges_come_and_go_as_software_says() -> None:
    card = Card()
    tree = Tree(card)
    for n, value in enumerate((0x1000, LOW, 0x4000, HIGH >> 32)):
        tree.write(1, BAR + 4 * n, value)
    assert tree.map() == {}, "decoding is off"
    tree.write(1, COMMAND, MEMORY_ON, 2)
    assert tree.map() == {"card.memory": LOW, "card.wide": HIGH + 0x4000}
    tree.write(1, COMMAND, MEMORY_ON | IO_ON, 2)
    assert tree.map() == {"card.ports": IO + 0x1000, "card.memory": LOW, "card.wide": HIGH + 0x4000}
    region = tree.space.find(LOW + 0xFFF)
    assert region is not None
    assert region.device is card.memory
    tree.write(1, BAR + 4, LOW + 0x7000)
    assert tree.map()["card.memory"] == LOW + 0x7000
    tree.write(1, BAR + 4, LOW + 0x1000_0000)
    assert "card.memory" not in tree.map(), "beyond the window"
    tree.write(1, BAR + 4, LOW + 0x7000)
    card.reset()
    assert tree.map() == {}
    assert tree.read(1, BAR + 4) == 0


def test_the_map_of_memory_of_the_cpus_stays() -> None:
    """No CPU need be told of devices that come and go."""
    tree = Tree(Card())
    before = tree.space.generation
    tree.write(1, BAR + 4, LOW)
    tree.write(1, COMMAND, MEMORY_ON, 2)
    assert tree.map()
    assert tree.space.generation == before


def test_who_comes_second_to_an_address_does_not_answer() -> None:
    one, other = Card("one"), Card("other")
    tree = Tree(one, other)
    for slot in (1, 2):
        tree.write(slot, BAR + 4, LOW)
        tree.write(slot, COMMAND, MEMORY_ON, 2)
    assert tree.map() == {"one.memory": LOW}
    assert tree.host.events.counts
    tree.write(1, COMMAND, 0, 2)
    assert tree.map() == {"other.memory": LOW}


def test_nobody_answers_in_the_rest_of_a_window() -> None:
    tree = Tree(Card())
    region = tree.space.find(LOW + 0x123)
    assert region is not None
    assert region.device is not None
    assert region.device.read(0x123, 4) == ONES
    region.device.write(0x123, 4, 1)
    assert sum(tree.host.events.counts.values()) == 2


def test_pins_are_swizzled_and_shared() -> None:
    cards = [Card(f"{slot}") for slot in range(1, 6)]
    tree = Tree(*cards)
    for slot, card in enumerate(cards, start=1):
        card.interrupt(True)
        assert tree.lines == [pin == slot % 4 for pin in range(4)]
        assert tree.read(slot, STATUS, 2) & 8
        card.interrupt(False)
    first, fifth = cards[0], cards[4]
    first.interrupt(True)
    fifth.interrupt(True)
    first.interrupt(False)
    assert tree.lines == [False, True, False, False], "the other one still wants attention"
    fifth.interrupt(False)
    assert tree.lines == [False] * 4


def test_a_shared_pin_is_renewed_by_each() -> None:
    """Controllers that want to hear of every request hear of the second one too."""
    first, fifth = Card("first"), Card("fifth")
    tree = Tree(first, Card(), Card(), Card(), fifth)
    first.interrupt(True)
    fifth.interrupt(True)
    assert tree.renewed == 1
    fifth.interrupt(True)
    assert tree.renewed == 2


def test_a_pin_that_software_has_disabled() -> None:
    card = Card()
    tree = Tree(card)
    tree.write(1, COMMAND, INTX_OFF, 2)
    card.interrupt(True)
    assert tree.lines == [False] * 4
    assert tree.read(1, STATUS, 2) & 8, "and says that it would interrupt"
    tree.write(1, COMMAND, 0, 2)
    assert tree.lines == [False, True, False, False]
    assert tree.read(1, PIN, 1) == 1


def test_capabilities_are_a_list() -> None:
    card = Card()
    resets: list[None] = []
    card.add_capability(PowerManagement(lambda: None))
    card.add_capability(IntegratedCapability(lambda: resets.append(None)), at=0x80)
    tree = Tree(card)
    assert tree.read(1, STATUS, 2) & 0x10
    assert tree.capabilities(1) == {0x01: [0x40], 0x10: [0x80]}
    tree.write(1, 0x40, ONES)
    assert tree.capabilities(1) == {0x01: [0x40], 0x10: [0x80]}
    card.reset()
    assert tree.capabilities(1) == {0x01: [0x40], 0x10: [0x80]}
    assert tree.read(1, 0x84) & 1 << 28, "it can be reset alone"
    tree.write(1, 0x88, 1 << 15, 2)
    assert len(resets) == 1


def test_capabilities_have_room_and_order() -> None:
    card = Card()
    card.add_capability(PowerManagement(lambda: None), at=0xF8)
    with pytest.raises(ValueError, match="no room"):
        card.add_capability(PowerManagement(lambda: None))
    with pytest.raises(ValueError, match="no register 1"):
        card.add_bar(1, Bar(Scratch("more"), 0x10))
    with pytest.raises(ValueError, match="no register 5"):
        card.add_bar(5, Bar(Scratch("more"), 0x10, wide=True))


@pytest.mark.parametrize("size", [0, 2, 24, 4097])
def test_sizes_of_ranges_are_powers_of_two(size: int) -> None:
    with pytest.raises(ValueError, match="no base address register"):
        Bar(Scratch("odd"), size)
    with pytest.raises(ValueError, match="ports"):
        Bar(Scratch("odd"), 0x20, Kind.IO, wide=True)


def test_slots_are_taken_once() -> None:
    tree = Tree(Card())
    for slot, number, why in ((1, 0, "cannot be"), (32, 0, "cannot be"), (5, 1, "no function 0")):
        with pytest.raises(ValueError, match=why):
            tree.host.bus.add(Card("late"), slot, number)
    tree.host.bus.add(Card("second"), 1, 1)
    assert tree.read(1, 0x0E, 1) == 0x80, "there are several functions"
    assert tree.read(1, VENDOR, number=1) == 0x5678_1234


def test_who_leaves_the_bus_is_silent() -> None:
    card = Card()
    tree = Tree(card)
    tree.write(1, BAR + 4, LOW)
    tree.write(1, COMMAND, MEMORY_ON | MASTER, 2)
    card.interrupt(True)
    tree.host.bus.remove(card)
    assert (tree.lines, tree.map()) == ([False] * 4, {})
    assert tree.read(1, VENDOR) == ONES
    card.interrupt(True)
    assert tree.lines == [False] * 4


def test_state_is_saved_and_loaded() -> None:
    first = Card()
    first.add_capability(PowerManagement(lambda: None))
    tree = Tree(first)
    tree.write(1, BAR + 4, LOW)
    tree.write(1, COMMAND, MEMORY_ON, 2)
    tree.write(1, 0x44, 3, 2)
    first.interrupt(True)
    second = Card()
    second.add_capability(PowerManagement(lambda: None))
    restored = Tree(second)
    second.load(first.save())
    assert restored.map() == tree.map() == {"card.memory": LOW}
    assert restored.lines == tree.lines
    assert [restored.read(1, at) for at in range(0, 0x100, 4)] == [
        tree.read(1, at) for at in range(0, 0x100, 4)
    ]
