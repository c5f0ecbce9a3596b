"""MSI and MSI-X: what is sent, and what waits."""

from __future__ import annotations

import pytest

from bimetal.base.log import EventLog
from bimetal.devices.irq.gic.v2m import Gicv2m
from bimetal.devices.irq.messages import Message
from bimetal.devices.pci.bar import Bar
from bimetal.devices.pci.messages import Msi, MsixTable, add_msix
from bimetal.machine.messages import MessageWrites
from bimetal.memory.ram import Ram
from bimetal.memory.space import AddressSpace
from tests.devices.pci.tree import COMMAND, MASTER, MEMORY_ON, Card, Tree

ADDRESS = 0x1_0802_0040
ENABLE, MASK_ALL = 1 << 15, 1 << 14
REQUESTER = 1 << 3


class Talker(Card):
    """A card with MSI-X of three vectors, whose table is in register 4, and MSI."""

    def __init__(self) -> None:
        super().__init__()
        self.table = add_msix(self, 3, 4)
        self.msi = Msi(self.send)
        self.add_capability(self.msi)
        self.add_bar(4, Bar(self.table, 0x1000))


@pytest.fixture
def card() -> Talker:
    return Talker()


@pytest.fixture
def tree(card: Talker) -> Tree:
    made = Tree(card)
    made.write(1, COMMAND, MASTER | MEMORY_ON, 2)
    return made


def fill(table: MsixTable, *, masked: bool = False) -> None:
    for vector in range(table.vectors):
        table.write(16 * vector, 4, ADDRESS & 0xFFFF_FFFF)
        table.write(16 * vector + 4, 4, ADDRESS >> 32)
        table.write(16 * vector + 8, 4, 80 + vector)
        table.write(16 * vector + 12, 4, int(masked))


def test_where_the_table_is(tree: Tree, card: Talker) -> None:
    (at,) = tree.capabilities(1)[0x11]
    assert tree.read(1, at + 2, 2) == 2
    assert (tree.read(1, at + 4), tree.read(1, at + 8)) == (4, 0x804)
    assert [card.table.read(16 * vector + 12, 4) for vector in range(3)] == [1, 1, 1]


def test_a_vector_sends_its_message(tree: Tree, card: Talker) -> None:
    (at,) = tree.capabilities(1)[0x11]
    fill(card.table)
    card.table.trigger(1)
    assert tree.messages == [], "not enabled yet, and then nothing waits"
    tree.write(1, at + 2, ENABLE, 2)
    card.table.trigger(1)
    assert tree.messages == [Message(REQUESTER, ADDRESS, 81)]
    card.table.trigger(3)
    card.table.trigger(0xFFFF)
    assert len(tree.messages) == 1, "there are no such vectors"


def test_masked_vectors_wait(tree: Tree, card: Talker) -> None:
    (at,) = tree.capabilities(1)[0x11]
    fill(card.table, masked=True)
    tree.write(1, at + 2, ENABLE, 2)
    card.table.trigger(0)
    card.table.trigger(2)
    card.table.trigger(2)
    assert (tree.messages, card.table.read(0x800, 4)) == ([], 0b101)
    card.table.write(12, 4, 0)
    assert (tree.messages, card.table.read(0x800, 8)) == ([Message(REQUESTER, ADDRESS, 80)], 0b100)
    tree.write(1, at + 2, ENABLE | MASK_ALL, 2)
    card.table.write(16 * 2 + 12, 4, 0)
    assert len(tree.messages) == 1
    tree.write(1, at + 2, ENABLE, 2)
    assert tree.messages[1:] == [Message(REQUESTER, ADDRESS, 82)]
    assert card.table.read(0x800, 4) == 0


def test_messages_need_a_master(tree: Tree, card: Talker) -> None:
    (at,) = tree.capabilities(1)[0x11]
    fill(card.table)
    tree.write(1, at + 2, ENABLE, 2)
    tree.write(1, COMMAND, MEMORY_ON, 2)
    card.table.trigger(0)
    assert tree.messages == []


def test_the_state_of_vectors(tree: Tree, card: Talker) -> None:
    (at,) = tree.capabilities(1)[0x11]
    fill(card.table)
    tree.write(1, at + 2, ENABLE | MASK_ALL, 2)
    card.table.trigger(0)
    other = Talker()
    restored = Tree(other)
    other.load(card.save())
    restored.write(1, at + 2, ENABLE, 2)
    assert restored.messages == [Message(REQUESTER, ADDRESS, 80)]
    other.reset()
    assert other.table.read(12, 4) == 1
    assert not other.table.enabled


def test_one_message_of_msi(tree: Tree, card: Talker) -> None:
    (at,) = tree.capabilities(1)[0x05]
    tree.write(1, at + 4, ADDRESS & 0xFFFF_FFFF | 3)
    tree.write(1, at + 8, ADDRESS >> 32)
    tree.write(1, at + 12, 99, 2)
    card.msi.trigger()
    assert tree.messages == []
    tree.write(1, at + 2, 1, 2)
    assert tree.messages == [Message(REQUESTER, ADDRESS, 99)]
    tree.write(1, at + 16, 1)
    card.msi.trigger()
    assert (len(tree.messages), tree.read(1, at + 20)) == (1, 1)
    tree.write(1, at + 16, 0)
    assert (len(tree.messages), tree.read(1, at + 20)) == (2, 0)


class TestDelivery:
    """Where messages end."""

    FRAME, RAM = 0x802_0000, 0x4000_0000

    @pytest.fixture
    def space(self) -> AddressSpace:
        space = AddressSpace()
        space.add_memory(Ram("ram", 4096), self.RAM)
        space.add_memory(Ram("rom", 4096, readonly=True), 0)
        self.frame = Gicv2m(80, 16)
        space.add_device(self.frame, self.FRAME, self.frame.mmio_size)
        card = Card()
        space.add_device(card, 0x3000_0000, 0x1000)
        self.card = card
        return space

    def test_at_a_frame_for_messages(self, space: AddressSpace) -> None:
        heard: list[bool] = []
        self.frame.spis[3].connect(heard.append)
        MessageWrites(space, EventLog("bus"))(Message(8, self.FRAME + 0x40, 83))
        assert heard == [True, False]

    def test_in_memory(self, space: AddressSpace) -> None:
        MessageWrites(space, EventLog("bus"))(Message(8, self.RAM + 8, 0x1234))
        assert space.read(self.RAM + 8, 4) == b"\x34\x12\0\0"

    @pytest.mark.parametrize(
        "address", [0, 0x3000_0004, 0x4000_0FFE, 0x5000_0000, (1 << 64) - 4, (1 << 64) - 2]
    )
    def test_nowhere_else(self, space: AddressSpace, address: int) -> None:
        events = EventLog("bus")
        MessageWrites(space, events)(Message(8, address, 0xFFFF))
        assert sum(events.counts.values()) == 1
        assert not self.card.COMMAND
