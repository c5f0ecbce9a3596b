"""A small machine: a host bridge, its windows in an address space, and software's side of it."""

from __future__ import annotations

from bimetal.devices.device import Device
from bimetal.devices.irq.messages import Message
from bimetal.devices.pci.bar import Bar, Kind
from bimetal.devices.pci.function import Endpoint, Function, Identity
from bimetal.devices.pci.host import EcamHost, HostBridge
from bimetal.machine.windows import BusWindows
from bimetal.memory.space import AddressSpace

ECAM = 0x3000_0000
IO, LOW, HIGH = 0x300_0000, 0x4000_0000, 0x4_0000_0000
"""Where the windows are: of ports, and of memory of 32 and 64 bits."""
WINDOWS = (
    (Kind.IO, 0, 0x1_0000),
    (Kind.MEMORY, LOW, 0x1000_0000),
    (Kind.MEMORY, HIGH, 0x1000_0000),
)
VENDOR, COMMAND, STATUS, BAR, POINTER, PIN = 0x00, 0x04, 0x06, 0x10, 0x34, 0x3D
IO_ON, MEMORY_ON, MASTER, INTX_OFF = 1, 2, 4, 1 << 10


class Scratch(Device):
    """A range of addresses that remembers what is written into it."""

    kind = "scratch"

    def __init__(self, name: str):
        super().__init__()
        self.rename(name)
        self.bytes = bytearray(0x1_0000)

    def read(self, offset: int, size: int) -> int:
        return int.from_bytes(self.bytes[offset : offset + size], "little")

    def write(self, offset: int, size: int, value: int) -> None:
        self.bytes[offset : offset + size] = value.to_bytes(size, "little")


class Card(Endpoint):
    """A function with ports (0), memory (1), and wide memory (2 and 3)."""

    kind = "card"

    def __init__(self, name: str = "card", pin: int = 1):
        super().__init__(Identity(0x1234, 0x5678, 0xFF_0102, 3, 0x9ABC, 0xDEF0), pin)
        self.rename(name)
        self.ports, self.memory, self.wide = (
            Scratch(f"{name}.{part}") for part in ("ports", "memory", "wide")
        )
        self.add_bar(0, Bar(self.ports, 0x20, Kind.IO))
        self.add_bar(1, Bar(self.memory, 0x1000))
        self.add_bar(2, Bar(self.wide, 0x4000, wide=True, prefetchable=True))


class Tree:
    """The host bridge with what is on its root bus."""

    def __init__(self, *functions: Function):
        self.space = AddressSpace()
        self.host = EcamHost(WINDOWS)
        self.host.rename("pcie")
        self.space.add_device(self.host, ECAM, self.host.mmio_size)
        BusWindows(self.space, self.host, [IO, LOW, HIGH])
        self.lines = [False] * 4
        self.renewed = 0
        self.messages: list[Message] = []
        for pin, output in enumerate(self.host.intx):
            output.connect(Wire(self, pin))
        self.host.message.connect(self.messages.append)
        for slot, function in enumerate((HostBridge(), *functions)):
            self.host.bus.add(function, slot)

    def read(self, slot: int, offset: int, size: int = 4, bus: int = 0, number: int = 0) -> int:
        return self.host.read(bus << 20 | slot << 15 | number << 12 | offset, size)

    def write(
        self, slot: int, offset: int, value: int, size: int = 4, bus: int = 0, number: int = 0
    ) -> None:
        self.host.write(bus << 20 | slot << 15 | number << 12 | offset, size, value)

    def map(self) -> dict[str, int]:
        """What functions answer where now."""
        return {each.name: each.base for each in self.space.regions if each.name != "pcie"}

    def capabilities(self, slot: int, bus: int = 0) -> dict[int, list[int]]:
        """Where the capabilities of a function lie, by their identifiers."""
        found: dict[int, list[int]] = {}
        at = self.read(slot, POINTER, 1, bus)
        while at:
            assert at in range(0x40, 0x100, 4)
            found.setdefault(self.read(slot, at, 1, bus), []).append(at)
            at = self.read(slot, at + 1, 1, bus)
        return found


class Wire:
    """An input for an interrupt pin, as a controller has it."""

    def __init__(self, tree: Tree, pin: int):
        self.tree, self.pin = tree, pin

    def __call__(self, level: bool) -> None:
        self.tree.lines[self.pin] = level

    def renew(self) -> None:
        self.tree.renewed += 1
