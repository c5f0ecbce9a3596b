"""Bridges and root ports: what is forwarded, and how functions come and go."""

from __future__ import annotations

import pytest

from bimetal.devices.irq.messages import Message
from bimetal.devices.pci.function import Function, MessageWrite
from bimetal.devices.pci.root_port import RootPort
from tests.devices.pci.tree import BAR, COMMAND, HIGH, IO, LOW, MASTER, MEMORY_ON, Card, Tree

ONES = 0xFFFF_FFFF
BUSES, IO_WINDOW, WINDOW, PREFETCH, PREFETCH_HIGH = 0x18, 0x1C, 0x20, 0x24, 0x28
CONTROL, STATUS, LINK_STATUS = 0x18, 0x1A, 0x12
BUTTON, PRESENCE, INTERRUPT, OFF, LINK_EVENTS = 1, 1 << 3, 1 << 5, 1 << 10, 1 << 12
PRESSED, CHANGED, PRESENT, LINK_CHANGED = 1, 1 << 3, 1 << 6, 1 << 8


class Slot:
    """A tree with a root port in slot 1, numbered as bus 1, and software's view of its slot."""

    def __init__(self) -> None:
        self.port = RootPort(7)
        self.port.rename("port")
        self.tree = Tree(self.port)
        self.ejected: list[Function] = []
        self.port.ejected.connect(self.ejected.append)
        self.configure()

    def configure(self) -> None:
        self.tree.write(1, BUSES, 0x0001_0100)
        self.tree.write(1, WINDOW, (LOW + 0x10_0000) | LOW >> 16)
        self.tree.write(1, PREFETCH, (HIGH & 0xFFFF_FFFF) | (HIGH & 0xFFFF_FFFF) >> 16)
        self.tree.write(1, PREFETCH_HIGH, HIGH >> 32)
        self.tree.write(1, PREFETCH_HIGH + 4, HIGH >> 32)
        self.tree.write(1, IO_WINDOW, 0x1010, 2)
        self.tree.write(1, COMMAND, MASTER | MEMORY_ON | 1, 2)
        (self.at,) = self.tree.capabilities(1)[0x10]
        (self.msi,) = self.tree.capabilities(1)[0x05]

    def read(self, register: int) -> int:
        return self.tree.read(1, self.at + register, 2)

    def write(self, register: int, value: int) -> None:
        self.tree.write(1, self.at + register, value, 2)

    def place(self) -> None:
        """Give the card addresses."""
        for n, value in enumerate((0x1000, LOW + 0x2000, 0, HIGH >> 32)):
            self.tree.write(0, BAR + 4 * n, value, bus=1)
        self.tree.write(0, COMMAND, MASTER | MEMORY_ON | 1, 2, bus=1)


@pytest.fixture
def slot() -> Slot:
    return Slot()


def test_what_it_says_it_is(slot: Slot) -> None:
    tree = slot.tree
    assert tree.read(1, 0) == 0x000C_1B36
    assert (tree.read(1, 8) >> 8, tree.read(1, 0x0E, 1)) == (0x06_0400, 1)
    assert tree.read(1, slot.at + 2, 2) == 0x142, "a root port with a slot"
    assert tree.read(1, slot.at + 0x14) >> 19 == 7
    assert tree.read(0, 0, bus=1) == ONES, "nothing is plugged in"


def test_what_is_behind_is_reached_by_the_number_of_its_bus(slot: Slot) -> None:
    slot.port.plug(Card())
    tree = slot.tree
    assert tree.read(0, 0, bus=1) == 0x5678_1234
    assert tree.read(1, 0, bus=1) == tree.read(0, 0, bus=2) == ONES
    tree.write(1, BUSES, 0x0005_0500)
    assert tree.read(0, 0, bus=1) == ONES
    assert tree.read(0, 0, bus=5) == 0x5678_1234


def test_windows_of_bridges(slot: Slot) -> None:
    slot.port.plug(Card())
    slot.place()
    tree = slot.tree
    places = {"card.ports": IO + 0x1000, "card.memory": LOW + 0x2000, "card.wide": HIGH}
    assert tree.map() == places
    tree.write(1, WINDOW, LOW >> 16)
    assert tree.map() == {each: at for each, at in places.items() if each != "card.memory"}
    tree.write(1, IO_WINDOW, 0x2020, 2)
    tree.write(1, PREFETCH_HIGH + 4, 0)
    assert tree.map() == {}
    slot.configure()
    assert tree.map() == places
    tree.write(1, COMMAND, MASTER, 2)
    assert tree.map() == {}


def test_pins_and_messages_pass_through(slot: Slot) -> None:
    card = Card(pin=2)
    slot.port.plug(card)
    slot.place()
    card.interrupt(True)
    assert slot.tree.lines == [False, False, True, False], "INTB of slot 0, swizzled in slot 1"
    card.interrupt(False)
    assert slot.tree.lines == [False] * 4
    card.send(MessageWrite(0x1000, 5))
    assert slot.tree.messages == [Message(0x100, 0x1000, 5)]
    slot.tree.write(1, COMMAND, MEMORY_ON, 2)
    card.send(MessageWrite(0x1000, 6))
    assert len(slot.tree.messages) == 1


def test_plugging_is_an_event(slot: Slot) -> None:
    assert not slot.read(STATUS)
    slot.write(CONTROL, INTERRUPT | PRESENCE)
    slot.port.plug(Card())
    assert slot.read(STATUS) == CHANGED | LINK_CHANGED | PRESENT
    assert slot.read(LINK_STATUS) & 1 << 13
    assert slot.tree.lines == [False, True, False, False]
    slot.write(STATUS, CHANGED)
    assert slot.read(STATUS) == LINK_CHANGED | PRESENT
    assert slot.tree.lines == [False] * 4


def test_events_are_told_by_messages(slot: Slot) -> None:
    slot.tree.write(1, slot.msi + 4, 0xFEE0_0000)
    slot.tree.write(1, slot.msi + 12, 33, 2)
    slot.tree.write(1, slot.msi + 2, 1, 2)
    slot.write(CONTROL, INTERRUPT | PRESENCE | BUTTON | LINK_EVENTS)
    slot.port.plug(Card())
    assert slot.tree.messages == [Message(0x8, 0xFEE0_0000, 33)]
    slot.port.press()
    assert len(slot.tree.messages) == 1, "the first is not answered yet"
    slot.write(STATUS, 0xFFFF)
    slot.port.press()
    assert len(slot.tree.messages) == 2
    assert slot.tree.lines == [False] * 4


def test_a_function_leaves_when_software_lets_it_go(slot: Slot) -> None:
    card = Card()
    slot.port.plug(card)
    slot.place()
    slot.port.press()
    assert slot.read(STATUS) & PRESSED
    assert not slot.ejected
    slot.write(CONTROL, OFF)
    assert slot.ejected == [card]
    assert slot.read(STATUS) & (PRESENT | CHANGED) == CHANGED
    assert not slot.read(LINK_STATUS) & 1 << 13
    assert slot.tree.map() == {}
    assert slot.tree.read(0, 0, bus=1) == ONES
    slot.write(CONTROL, 0)
    slot.port.plug(Card("next"))
    assert slot.tree.read(0, 0, bus=1) == 0x5678_1234


def test_a_function_stays_when_only_its_power_is_switched_off(slot: Slot) -> None:
    """Nobody asked for it."""
    card = Card()
    slot.port.plug(card)
    slot.place()
    slot.write(CONTROL, OFF)
    assert not slot.ejected
    assert slot.tree.read(0, 0, bus=1) == ONES
    assert slot.tree.map() == {}
    slot.write(CONTROL, 0)
    assert slot.tree.read(0, 0, bus=1) == 0x5678_1234
    assert slot.tree.read(0, BAR + 4, bus=1) == 0, "it was reset"


def test_what_arrives_has_power(slot: Slot) -> None:
    """Linux switches empty slots off, and listens for links."""
    slot.write(CONTROL, OFF | INTERRUPT | LINK_EVENTS)
    slot.port.plug(Card())
    assert slot.read(STATUS) == CHANGED | LINK_CHANGED | PRESENT
    assert slot.tree.lines == [False, True, False, False]
    slot.write(CONTROL, OFF | INTERRUPT | LINK_EVENTS | BUTTON)
    assert slot.tree.read(0, 0, bus=1) == 0x5678_1234
    slot.write(CONTROL, 0)
    assert slot.tree.read(0, 0, bus=1) == 0x5678_1234
    slot.write(CONTROL, OFF)
    assert slot.tree.read(0, 0, bus=1) == ONES


def test_a_function_that_is_pulled_out(slot: Slot) -> None:
    card = Card()
    slot.port.plug(card)
    slot.place()
    card.interrupt(True)
    slot.port.pull()
    assert (slot.ejected, slot.tree.map(), slot.tree.lines) == ([card], {}, [False] * 4)
    slot.port.pull()
    assert len(slot.ejected) == 1


def test_a_reset_lets_go_of_what_was_asked_for(slot: Slot) -> None:
    kept = Card()
    slot.port.plug(kept)
    slot.place()
    slot.port.reset()
    assert not slot.ejected
    slot.configure()
    assert slot.tree.read(0, 0, bus=1) == 0x5678_1234
    slot.port.press()
    slot.port.reset()
    assert slot.ejected == [kept]


def test_what_is_taken(slot: Slot) -> None:
    slot.port.plug(Card())
    with pytest.raises(ValueError, match="cannot be"):
        slot.port.plug(Card())


def test_its_state_goes_into_another_machine(slot: Slot) -> None:
    slot.port.plug(Card())
    slot.place()
    slot.write(CONTROL, INTERRUPT | PRESENCE)
    slot.port.press()
    other = Slot()
    other.port.plug(Card())
    other.port.load(slot.port.save())
    ours, theirs = other.port.function, slot.port.function
    assert ours is not None
    assert theirs is not None
    ours.load(theirs.save())
    assert other.tree.map() == slot.tree.map()
    assert other.tree.lines == slot.tree.lines
    other.write(CONTROL, OFF)
    assert other.ejected == [ours]
