"""The registers of the PCI transport, in one range of memory (virtio 1.2, sections 4.1.4.3 to
4.1.4.6).

0000  common configuration     2000  configuration of the device
1000  interrupt status         3000  notifications, 4 bytes a queue
"""

from __future__ import annotations

from typing import Protocol

from bimetal.devices.pci.config import ConfigBlock
from bimetal.devices.register import Reg, Value
from bimetal.devices.virtio.device import VirtioDevice
from bimetal.devices.virtio.queue import Virtqueue
from bimetal.devices.virtio.transport import idle, selected
from bimetal.memory.access import Access

__all__ = ["COMMON", "DEVICE", "ISR", "NOTIFY", "NOTIFY_STRIDE", "NO_VECTOR", "PciRegisters"]

COMMON, ISR, DEVICE, NOTIFY, END = 0x0000, 0x1000, 0x2000, 0x3000, 0x4000
NOTIFY_STRIDE = 4
NO_VECTOR = 0xFFFF
"""A vector that stands for no message (4.1.5.1.2)."""


class Vectors(Protocol):
    """The messages of the function, and its interrupt status."""

    config_vector: int
    """The vector of changes of the configuration, or `NO_VECTOR`."""
    queue_vectors: list[int]
    """That of each queue."""

    @property
    def has_messages(self) -> bool:
        """Whether software has enabled MSI-X."""

    def usable_vector(self, vector: int) -> int:
        """``vector`` if there is such a one, else `NO_VECTOR`."""

    def take_status(self) -> int:
        """The interrupt status, which is 0 from then on."""

    def reset_device(self) -> None:
        """Reset the virtio device and what the transport knows of it."""


class PciRegisters(ConfigBlock):
    """The registers by which a driver of virtio 1 uses ``device``; ``function`` carries it."""

    kind = "virtio_pci_registers"
    mmio_size = END
    access = Access(width=4)

    DEVICE_FEATURES_SEL = Reg(0x00)
    DEVICE_FEATURES = Reg(0x04, writable=0, doc="the 32 features that the selector names")
    DRIVER_FEATURES_SEL = Reg(0x08)
    DRIVER_FEATURES = Reg(0x0C)
    CONFIG_VECTOR = Reg(0x10, 2, writable=0)
    QUEUES = Reg(0x12, 2, writable=0)
    STATUS = Reg(0x14, 1, writable=0, doc="0: reset")
    CONFIG_GENERATION = Reg(0x15, 1, writable=0)
    QUEUE_SEL = Reg(0x16, 2, doc="which queue the registers of queues mean")
    QUEUE_SIZE = Reg(0x18, 2, writable=0, doc="0: no such queue")
    QUEUE_VECTOR = Reg(0x1A, 2, writable=0)
    QUEUE_ENABLE = Reg(0x1C, 2, writable=0)
    QUEUE_NOTIFY_OFFSET = Reg(0x1E, 2, writable=0)
    QUEUE_DESC = Reg(0x20, 8, writable=0)
    QUEUE_DRIVER = Reg(0x28, 8, writable=0)
    QUEUE_DEVICE = Reg(0x30, 8, writable=0)
    ISR = Reg(ISR, 1, writable=0, USED_BUFFER=0, CONFIG_CHANGE=1, doc="0 once it was read")

    fixed = ("device", "function")

    def __init__(self, device: VirtioDevice, function: Vectors):
        self.device, self.function = device, function
        super().__init__()

    # The configuration of the device, and notifications

    def read(self, offset: int, size: int) -> int:
        if DEVICE <= offset < NOTIFY:
            field = self.device.config[offset - DEVICE :][:size]
            return int.from_bytes(field if len(field) == size else b"\xff" * size, "little")
        return 0 if offset >= NOTIFY else super().read(offset, size)

    def write(self, offset: int, size: int, value: int) -> None:
        if offset >= NOTIFY:
            self._notify((offset - NOTIFY) // NOTIFY_STRIDE)
        elif offset >= DEVICE:
            self.device.config_written(offset - DEVICE, value.to_bytes(size, "little"))
        else:
            super().write(offset, size, value)

    def _notify(self, index: int) -> None:
        if index < len(self.device.queues):
            self.device.notify(index)
        else:
            self.guest_error("notification of a queue that does not exist", f"{index}")

    # The device

    def r_DEVICE_FEATURES(self) -> int:
        return self.device.offered_word(self.DEVICE_FEATURES_SEL)

    def r_DRIVER_FEATURES(self) -> int:
        return self.device.accepted_word(self.DRIVER_FEATURES_SEL)

    k_DRIVER_FEATURES = r_DRIVER_FEATURES

    def w_DRIVER_FEATURES(self, written: Value) -> None:
        self.device.accept_word(self.DRIVER_FEATURES_SEL, written)

    def r_CONFIG_VECTOR(self) -> int:
        return self.function.config_vector

    def w_CONFIG_VECTOR(self, written: Value) -> None:
        self.function.config_vector = self.function.usable_vector(written)

    def r_QUEUES(self) -> int:
        return len(self.device.queues)

    def r_STATUS(self) -> int:
        return self.device.status

    def w_STATUS(self, written: Value) -> None:
        if written == 0:
            self.function.reset_device()
        else:
            self.device.legacy = False
            self.device.set_status(written)

    def r_CONFIG_GENERATION(self) -> int:
        return self.device.config_generation & 0xFF

    def r_ISR(self) -> int:
        return self.function.take_status()

    # Queues

    def r_QUEUE_SIZE(self) -> int:
        queue = self._selected()
        return queue.size if queue else 0

    def w_QUEUE_SIZE(self, written: Value) -> None:
        self._idle().size = int(written)

    def r_QUEUE_VECTOR(self) -> int:
        return self.function.queue_vectors[self.QUEUE_SEL] if self._selected() else NO_VECTOR

    def w_QUEUE_VECTOR(self, written: Value) -> None:
        if self._selected():
            self.function.queue_vectors[self.QUEUE_SEL] = self.function.usable_vector(written)

    def r_QUEUE_ENABLE(self) -> int:
        queue = self._selected()
        return int(queue.ready) if queue else 0

    def w_QUEUE_ENABLE(self, written: Value) -> None:
        if written != 1:
            self.guest_error("a queue is not disabled by its register, but by a reset")
            return
        self._idle()
        self.device.enable_queue(self.QUEUE_SEL)

    def r_QUEUE_NOTIFY_OFFSET(self) -> int:
        return int(self.QUEUE_SEL) if self._selected() else 0

    def r_QUEUE_DESC(self) -> int:
        queue = self._selected()
        return queue.descriptors if queue else 0

    k_QUEUE_DESC = r_QUEUE_DESC

    def w_QUEUE_DESC(self, written: Value) -> None:
        self._idle().descriptors = int(written)

    def r_QUEUE_DRIVER(self) -> int:
        queue = self._selected()
        return queue.driver if queue else 0

    k_QUEUE_DRIVER = r_QUEUE_DRIVER

    def w_QUEUE_DRIVER(self, written: Value) -> None:
        self._idle().driver = int(written)

    def r_QUEUE_DEVICE(self) -> int:
        queue = self._selected()
        return queue.device if queue else 0

    k_QUEUE_DEVICE = r_QUEUE_DEVICE

    def w_QUEUE_DEVICE(self, written: Value) -> None:
        self._idle().device = int(written)

    def _selected(self) -> Virtqueue | None:
        return selected(self.device.queues, self.QUEUE_SEL)

    def _idle(self) -> Virtqueue:
        """The selected queue, to be set up."""
        return idle(self.device.queues, self.QUEUE_SEL)
