"""The small guest with its device on a PCI bus: the same conversations, in that transport's
words."""

from __future__ import annotations

from bimetal.devices.irq.messages import Message
from bimetal.devices.turns import Turns
from bimetal.devices.virtio.device import VirtioDevice
from bimetal.devices.virtio.pci import VirtioPci
from bimetal.memory.ram import Ram
from tests.devices.pci.tree import BAR, COMMAND, HIGH, IO, IO_ON, LOW, MASTER, MEMORY_ON, Tree
from tests.devices.virtio import guest as mmio

PORTS = 0x1000
COMMON, ISR, DEVICE, NOTIFY = 0x0000, 0x1000, 0x2000, 0x3000
WORDS = {
    mmio.DEVICE_FEATURES_SEL: 0x00,
    mmio.DEVICE_FEATURES: 0x04,
    mmio.DRIVER_FEATURES_SEL: 0x08,
    mmio.DRIVER_FEATURES: 0x0C,
    mmio.STATUS: (0x14, 1),
    mmio.CONFIG_GENERATION: (0x15, 1),
    mmio.QUEUE_SEL: (0x16, 2),
    mmio.QUEUE_SIZE_MAX: (0x18, 2),
    mmio.QUEUE_SIZE: (0x18, 2),
    mmio.QUEUE_READY: (0x1C, 2),
    mmio.QUEUE_DESC: 0x20,
    mmio.QUEUE_DESC + 4: 0x24,
    mmio.QUEUE_DRIVER: 0x28,
    mmio.QUEUE_DRIVER + 4: 0x2C,
    mmio.QUEUE_DEVICE: 0x30,
    mmio.QUEUE_DEVICE + 4: 0x34,
}
"""Registers that both transports have: where, and of how many bytes if not 4."""


class PciGuest(mmio.Guest):
    """A function with ``device`` in slot 1, its registers and table in memory."""

    def __init__(
        self,
        device: VirtioDevice,
        size: int = mmio.SIZE,
        *,
        transitional: bool = False,
        defer: Turns | None = None,
    ):
        self.ram = Ram("ram", size)
        self.tree = Tree()
        self.space = self.tree.space
        self.space.add_memory(self.ram, mmio.BASE)
        self.function = VirtioPci(device, self.space, defer, integrated=transitional)
        self.function.rename("function")
        self.tree.host.bus.add(self.function, 1)
        self.function.intx.connect(self._interrupt)
        self._irq, self.interrupts, self._next = False, 0, mmio.BASE
        self.configure()

    def configure(self) -> None:
        """What firmware does: give addresses, and switch the function on."""
        for index, value in ((1, LOW), (4, HIGH & 0xFFFF_FFFF), (5, HIGH >> 32)):
            self.tree.write(1, BAR + 4 * index, value)
        self.tree.write(1, BAR, PORTS)
        self.tree.write(1, COMMAND, IO_ON | MEMORY_ON | MASTER, 2)

    @property
    def messages(self) -> list[Message]:
        """The messages that were sent."""
        return self.tree.messages

    @property
    def device(self) -> VirtioDevice:
        return self.function.device

    def at(self, offset: int, size: int, value: int | None = None) -> int:
        """Read, or write, at ``offset`` of the registers, by their address."""
        region = self.space.find(HIGH + offset)
        assert region is not None
        assert region.device is not None
        if value is None:
            return region.device.read(HIGH + offset - region.base, size)
        region.device.write(HIGH + offset - region.base, size, value)
        return 0

    def port(self, offset: int, size: int, value: int | None = None) -> int:
        """Read, or write, one of the ports of a transitional function."""
        region = self.space.find(IO + PORTS + offset)
        assert region is not None
        assert region.device is not None
        if value is None:
            return region.device.read(IO + PORTS + offset - region.base, size)
        region.device.write(IO + PORTS + offset - region.base, size, value)
        return 0

    def table(self, vector: int, address: int, data: int) -> None:
        """Fill an entry of the table of messages, without a mask."""
        region = self.space.find(LOW)
        assert region is not None
        assert region.device is not None
        for at, word in enumerate((address & 0xFFFF_FFFF, address >> 32, data, 0)):
            region.device.write(16 * vector + 4 * at, 4, word)

    def read(self, offset: int, size: int = 4) -> int:
        if offset >= mmio.CONFIG:
            return self.at(DEVICE + offset - mmio.CONFIG, size)
        if offset == mmio.INTERRUPT_STATUS:
            return self.function.interrupt_status
        if offset == mmio.DEVICE_ID:
            return self.tree.read(1, 2, 2) - 0x1040
        return self.at(*self._place(offset, size))

    def write(self, offset: int, value: int, size: int = 4) -> None:
        if offset >= mmio.CONFIG:
            self.at(DEVICE + offset - mmio.CONFIG, size, value)
        elif offset == mmio.QUEUE_NOTIFY:
            self.at(NOTIFY + 4 * (value & 0x3FF), 2, value & 0xFFFF)
        elif offset == mmio.INTERRUPT_ACK:
            self.at(ISR, 1)
        else:
            at, size = self._place(offset, size)
            self.at(at, size, value & (1 << 8 * size) - 1)

    @staticmethod
    def _place(offset: int, size: int) -> tuple[int, int]:
        place = WORDS[offset]
        return place if isinstance(place, tuple) else (place, size)
