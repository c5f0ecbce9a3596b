"""Hostile configuration software: whatever it writes into configuration space, registers and tables
of messages, nothing breaks, ranges stay inside their windows, and after a reset all is as new."""

from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from bimetal.backends.block.memory import MemoryDisk
from bimetal.devices.pci.function import Function
from bimetal.devices.pci.root_port import RootPort
from bimetal.devices.virtio.block import VirtioBlock
from bimetal.machine.messages import MessageWrites
from bimetal.memory.ram import Ram
from tests.devices.pci.tree import ECAM, HIGH, IO, LOW, WINDOWS, Card
from tests.devices.virtio.guest import BASE
from tests.devices.virtio.pci_guest import PciGuest

ROM = 0x1000
CARDS = 3
PLACES = [(at, at + size) for at, (_, _, size) in zip((IO, LOW, HIGH), WINDOWS, strict=True)]

values = st.one_of(
    st.sampled_from([0, 1, 3, 7, 0x547, 0xFFFF_FFFF, 0x8000_0000, 1 << 15, 3 << 14, 1 << 31]),
    st.sampled_from([LOW, HIGH & 0xFFFF_FFFF, HIGH >> 32, BASE, BASE + 0x800, ROM, ECAM]),
    st.integers(0, 0xFF).map(lambda n: LOW + 0x1000 * n),
    st.integers(0, 0xFFFF_FFFF),
)
sizes = st.sampled_from([1, 2, 4])
configuration = st.tuples(
    st.just("config"),
    st.tuples(st.integers(0, CARDS + 2), st.one_of(st.integers(0, 0xFF), st.integers(0, 0xFFF))),
    sizes,
    values,
)
registers = st.tuples(
    st.just("registers"),
    st.one_of(
        st.integers(0, 0x3F),
        st.integers(0, 0x3FFF),
        st.sampled_from([0x14, 0x1C, 0x1000, 0x2000, 0x3000, 0x3004]),
    ),
    sizes,
    values,
)
ports = st.tuples(st.just("ports"), st.integers(0, 0x7F), sizes, values)
table = st.tuples(st.just("table"), st.integers(0, 0x3FF).map(lambda n: 4 * n), st.just(4), values)
behind = st.tuples(
    st.just("behind"), st.tuples(st.integers(0, 2), st.integers(0, 0x3F)), sizes, values
)
slots = st.tuples(st.just("slot"), st.sampled_from(["plug", "press", "pull"]), sizes, values)
interrupts = st.tuples(st.just("pin"), st.integers(0, CARDS - 1), sizes, st.integers(0, 1))
steps = st.one_of(configuration, registers, ports, table, interrupts, behind, slots)
histories = st.lists(steps, max_size=60)


class Machine:
    """A virtio disk in slot 1, and cards beside it that ask for the same windows."""

    def __init__(self) -> None:
        disk = VirtioBlock(MemoryDisk(64 << 10), "fuzz")
        self.guest = PciGuest(disk, 64 << 10, transitional=True)
        self.cards = [Card(f"card{number}") for number in range(CARDS)]
        tree = self.guest.tree
        for slot, card in enumerate(self.cards, start=2):
            tree.host.bus.add(card, slot)
        self.port = RootPort(1)
        tree.host.bus.add(self.port, CARDS + 2)
        self.port.plug(Card("behind"))
        self.rom = Ram("rom", 4096, readonly=True)
        self.guest.space.add_memory(self.rom, ROM)
        tree.host.message.connect(MessageWrites(self.guest.space, tree.host.events))

    def do(self, where: str, at: object, size: int, value: int) -> None:
        """One thing that software does."""
        value &= (1 << 8 * size) - 1
        match where, at:
            case "config", (int(slot), int(offset)):
                offset &= -size
                self.guest.tree.read(slot, offset, size)
                self.guest.tree.write(slot, offset, value, size)
            case "registers", int(offset):
                offset &= -size
                self.guest.function.structures.read(offset, size)
                self.guest.function.structures.write(offset, size, value)
            case "ports", int(offset):
                offset &= -size
                self.guest.function.ports.read(offset, size)
                self.guest.function.ports.write(offset, size, value)
            case "table", int(offset):
                self.guest.function._table.write(offset, size, value)
            case "behind", (int(bus), int(offset)):
                offset &= -size
                self.guest.tree.read(0, offset, size, bus=bus)
                self.guest.tree.write(0, offset, value, size, bus=bus)
            case "slot", "plug" if not self.port.occupied:
                self.port.plug(Card("behind"))
            case "slot", "press":
                self.port.press()
            case "slot", "pull":
                self.port.pull()
            case "pin", int(number):
                self.cards[number].interrupt(bool(value))

    def functions(self) -> list[Function]:
        """All of them, those behind the port last."""
        return [*self.guest.tree.host.bus, *self.port.behind]

    def check(self) -> None:
        for region in self.guest.space.regions:
            if region.memory is None and region.base != ECAM:
                assert any(start <= region.base <= region.last < end for start, end in PLACES)
        assert self.guest.tree.read(1, 0) == 0x1001_1AF4
        assert self.guest.tree.read(2, 0) == 0x5678_1234
        assert self.guest.tree.capabilities(1).keys() == {0x01, 0x09, 0x10, 0x11}
        assert self.rom.bytes == bytes(4096)

    def check_alive(self) -> None:
        """After a reset the disk does its work, and its interrupt comes."""
        for function in self.functions():
            function.reset()
        assert self.guest.tree.lines == [False] * 4
        self.guest._next = BASE
        self.guest.ram.clear()
        self.guest.configure()
        (ring,) = self.guest.start()
        room = self.guest.room(21)
        ring.submit(self.guest.place(struct.pack("<IIQ", 8, 0, 0)), room)
        assert self.guest.peek(room).startswith(b"fuzz")
        assert self.guest.tree.lines == [False, True, False, False]


@settings(max_examples=100)
@given(histories)
def test_whatever_software_writes(history: list[tuple[str, object, int, int]]) -> None:
    machine = Machine()
    for each in history:
        machine.do(*each)
    machine.check()
    state = [function.save() for function in machine.functions()]
    other = Machine()
    if not machine.port.occupied:
        other.port.pull()
    for function, saved in zip(other.functions(), state, strict=True):
        function.load(saved)
    assert other.guest.tree.map() == machine.guest.tree.map()
    assert other.guest.tree.lines == machine.guest.tree.lines
    machine.check_alive()
