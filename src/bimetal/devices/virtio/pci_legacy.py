"""The I/O ports of a transitional function, by which drivers from before virtio 1 use it (virtio
1.2, section 4.1.4.10).

The configuration of the device follows the registers: behind those of the vectors, which are there
while MSI-X is enabled.
"""

from __future__ import annotations

from bimetal.devices.pci.config import ConfigBlock
from bimetal.devices.register import Reg, Value
from bimetal.devices.virtio.device import VirtioDevice
from bimetal.devices.virtio.pci_registers import NO_VECTOR, Vectors
from bimetal.devices.virtio.queue import Virtqueue
from bimetal.devices.virtio.transport import selected
from bimetal.memory.access import Access

__all__ = ["LegacyPorts"]

CONFIG, CONFIG_WITH_VECTORS = 0x14, 0x18
PAGE = ALIGNMENT = 4096
LEAST = 0x20


class LegacyPorts(ConfigBlock):
    """The ports of ``device``; ``function`` carries it. Using them makes the driver a legacy one,
    until the next reset."""

    kind = "virtio_pci_ports"
    access = Access(width=4)

    DEVICE_FEATURES = Reg(0x00, writable=0)
    DRIVER_FEATURES = Reg(0x04, writable=0)
    QUEUE_PFN = Reg(0x08, writable=0, doc="the page at which the queue begins; 0: it is not used")
    QUEUE_SIZE = Reg(0x0C, 2, writable=0, doc="0: no such queue")
    QUEUE_SEL = Reg(0x0E, 2, doc="which queue the registers of queues mean")
    QUEUE_NOTIFY = Reg(0x10, 2, writable=0)
    STATUS = Reg(0x12, 1, writable=0, doc="0: reset")
    ISR = Reg(0x13, 1, writable=0, USED_BUFFER=0, CONFIG_CHANGE=1, doc="0 once it was read")
    CONFIG_VECTOR = Reg(0x14, 2, writable=0)
    QUEUE_VECTOR = Reg(0x16, 2, writable=0)

    fixed = ("device", "function")

    def __init__(self, device: VirtioDevice, function: Vectors):
        self.device, self.function = device, function
        self.mmio_size = max(
            LEAST, 1 << (CONFIG_WITH_VECTORS + len(device.config) - 1).bit_length()
        )
        super().__init__()

    @property
    def _config_at(self) -> int:
        return CONFIG_WITH_VECTORS if self.function.has_messages else CONFIG

    def read(self, offset: int, size: int) -> int:
        if offset >= (start := self._config_at):
            field = self.device.config[offset - start :][:size]
            return int.from_bytes(field if len(field) == size else b"\xff" * size, "little")
        return super().read(offset, size)

    def write(self, offset: int, size: int, value: int) -> None:
        if offset >= (start := self._config_at):
            self.device.config_written(offset - start, value.to_bytes(size, "little"))
        else:
            super().write(offset, size, value)

    def r_DEVICE_FEATURES(self) -> int:
        return self.device.offered_word(0)

    def r_DRIVER_FEATURES(self) -> int:
        return self.device.accepted_word(0)

    k_DRIVER_FEATURES = r_DRIVER_FEATURES

    def w_DRIVER_FEATURES(self, written: Value) -> None:
        self.device.legacy = True
        self.device.accept_word(0, written)

    def r_QUEUE_PFN(self) -> int:
        queue = self._selected()
        return queue.descriptors // PAGE & 0xFFFF_FFFF if queue and queue.ready else 0

    k_QUEUE_PFN = r_QUEUE_PFN

    def w_QUEUE_PFN(self, written: Value) -> None:
        queue = self._selected()
        if queue is None:
            self.guest_error("use of a queue that does not exist")
            return
        self.device.legacy = True
        if queue.ready:
            self.device.disable_queue(self.QUEUE_SEL)
        if written:
            queue.size = queue.limit
            queue.lay_out(written * PAGE, ALIGNMENT)
            self.device.enable_queue(self.QUEUE_SEL)

    def r_QUEUE_SIZE(self) -> int:
        queue = self._selected()
        return queue.limit if queue else 0

    def w_QUEUE_NOTIFY(self, written: Value) -> None:
        if written < len(self.device.queues):
            self.device.notify(written)
        else:
            self.guest_error("notification of a queue that does not exist", f"{written}")

    def r_STATUS(self) -> int:
        return self.device.status

    def w_STATUS(self, written: Value) -> None:
        if written == 0:
            self.function.reset_device()
        else:
            self.device.legacy = True
            self.device.set_status(written)

    def r_ISR(self) -> int:
        return self.function.take_status()

    def r_CONFIG_VECTOR(self) -> int:
        return self.function.config_vector

    def w_CONFIG_VECTOR(self, written: Value) -> None:
        self.function.config_vector = self.function.usable_vector(written)

    def r_QUEUE_VECTOR(self) -> int:
        return self.function.queue_vectors[self.QUEUE_SEL] if self._selected() else NO_VECTOR

    def w_QUEUE_VECTOR(self, written: Value) -> None:
        if self._selected():
            self.function.queue_vectors[self.QUEUE_SEL] = self.function.usable_vector(written)

    def _selected(self) -> Virtqueue | None:
        return selected(self.device.queues, self.QUEUE_SEL)
