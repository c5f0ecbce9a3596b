"""What both versions of the MMIO transport have in common: a slot, its interrupt, and the registers
that say what is in it (virtio 1.2, sections 4.2.2 and 4.2.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from bimetal.devices.device import Device, Property
from bimetal.devices.output import Out
from bimetal.devices.register import Reg, Value
from bimetal.devices.turns import Turns
from bimetal.devices.virtio.device import VirtioDevice
from bimetal.devices.virtio.queue import Virtqueue
from bimetal.devices.virtio.transport import idle, selected
from bimetal.memory.access import Access
from bimetal.memory.contents import Area, Stored
from bimetal.memory.space import AddressSpace

__all__ = ["NOTIFY", "VirtioSlot"]

MAGIC = int.from_bytes(b"virt", "little")
VENDOR = int.from_bytes(b"QEMU", "little")
"""Teaching systems look for this number, and for no other."""

REGISTER = 4
"""The only width by which registers are accessed (4.2.2.2)."""

NOTIFY, CONFIG = 0x050, 0x100
"""Where queues are notified, and where the configuration of the device begins."""

USED_BUFFER, CONFIG_CHANGE = 1, 2
"""Bits of InterruptStatus."""


class VirtioSlot(Device):
    """One slot; without a device it answers device id 0, which drivers pass over.

    ``space`` is the memory that the device's rings and buffers lie in; for ``defer`` see
    `VirtioDevice.plug`.
    """

    kind = "virtio_mmio"
    compatible = ("virtio,mmio",)
    acpi = ("LNRO0005", "VR")
    mmio_size = 0x200
    access = Access(width=REGISTER)

    MAGIC_VALUE = Reg(0x000, reset=MAGIC, readonly=True, doc='"virt"')
    DEVICE_ID = Reg(0x008, readonly=True, doc="0: no device here")
    VENDOR_ID = Reg(0x00C, reset=VENDOR, readonly=True)
    DEVICE_FEATURES = Reg(0x010, readonly=True, doc="the 32 features that the selector names")
    DEVICE_FEATURES_SEL = Reg(0x014)
    DRIVER_FEATURES = Reg(0x020)
    DRIVER_FEATURES_SEL = Reg(0x024)
    QUEUE_SEL = Reg(0x030, doc="which queue the registers of queues mean")
    QUEUE_SIZE_MAX = Reg(0x034, readonly=True, doc="0: no such queue")
    QUEUE_SIZE = Reg(0x038)
    QUEUE_NOTIFY = Reg(NOTIFY, doc="index of the queue that has new buffers")
    INTERRUPT_STATUS = Reg(0x060, readonly=True, USED_BUFFER=0, CONFIG_CHANGE=1)
    INTERRUPT_ACK = Reg(0x064)
    STATUS = Reg(0x070, doc="0: reset")

    irq = Out(doc="high while InterruptStatus is not 0")
    saved: ClassVar[tuple[str, ...]] = ("device",)

    def __init__(
        self,
        device: VirtioDevice | None,
        space: AddressSpace,
        defer: Turns | None = None,
    ):
        super().__init__()
        self.device = VirtioDevice() if device is None else device
        self.device.events = self.events  # one name, one account of what went wrong
        self.device.plug(self, space, defer)

    def parts(self) -> Iterable[object]:
        return (self.device,)

    def properties(self) -> Mapping[str, Property]:
        return {"dma-coherent": None}

    def doorbells(self) -> Iterable[tuple[int, int, int]]:
        return [(NOTIFY, 4, number) for number in range(len(self.device.queues))]

    def reset(self) -> None:
        super().reset()
        self.device.reset()
        self._drive()

    def close(self) -> None:
        self.device.close()

    def settle(self) -> None:
        self.device.settle()

    def let_go(self) -> None:
        self.device.let_go()

    def come_here(self) -> None:
        self.device.come_here()

    def check_forkable(self) -> None:
        self.device.check_forkable()

    def stack(self) -> None:
        self.device.stack()

    @property
    def renews(self) -> bool:
        return self.device.renews

    def forked(self) -> None:
        self.device.forked()

    def areas(self) -> Mapping[str, Area]:
        return self.device.areas()

    def stored(self) -> Iterable[Stored]:
        return self.device.stored()

    # The registers, and the configuration, of which drivers read and write 1, 2, 4 or 8 bytes

    def read(self, offset: int, size: int) -> int:
        if offset >= CONFIG:
            field = self.device.config[offset - CONFIG :][:size]
            # A field that is not wholly there reads as ones, which is what drivers meet elsewhere.
            return int.from_bytes(field if len(field) == size else b"\xff" * size, "little")
        if size != REGISTER or offset % REGISTER:
            self._refuse(offset, size)
            return 0
        return super().read(offset, size)

    def write(self, offset: int, size: int, value: int) -> None:
        if offset >= CONFIG:
            self.device.config_written(offset - CONFIG, value.to_bytes(size, "little"))
        elif size != REGISTER or offset % REGISTER:
            self._refuse(offset, size)
        else:
            super().write(offset, size, value)

    def _refuse(self, offset: int, size: int) -> None:
        self.guest_error(f"access of {size} bytes to the register at {offset & -REGISTER:#x}")

    # Interrupts

    def queue_interrupt(self, index: int) -> None:
        """See `Transport.queue_interrupt`."""
        self.INTERRUPT_STATUS |= USED_BUFFER
        self._drive()

    def config_interrupt(self) -> None:
        """See `Transport.config_interrupt`."""
        self.INTERRUPT_STATUS |= CONFIG_CHANGE
        self._drive()

    def w_INTERRUPT_ACK(self, written: Value) -> None:
        self.INTERRUPT_STATUS &= ~written
        self._drive()

    def _drive(self) -> None:
        self.irq(self.INTERRUPT_STATUS != 0)

    # Device

    def r_DEVICE_ID(self) -> int:
        return self.device.device_id

    def r_DEVICE_FEATURES(self) -> int:
        return self.device.offered_word(self.DEVICE_FEATURES_SEL)

    def w_DRIVER_FEATURES(self, written: Value) -> None:
        self.device.accept_word(self.DRIVER_FEATURES_SEL, written)

    def r_STATUS(self) -> int:
        return self.device.status

    def w_STATUS(self, written: Value) -> None:
        if written == 0:
            self.reset()
        else:
            self.device.set_status(written)

    # Queues

    def w_QUEUE_NOTIFY(self, written: Value) -> None:
        if written < len(self.device.queues):
            self.device.notify(written)
        else:
            self.guest_error("notification of a queue that does not exist", f"{written}")

    def r_QUEUE_SIZE_MAX(self) -> int:
        queue = self._selected()
        return queue.limit if queue else 0

    def w_QUEUE_SIZE(self, written: Value) -> None:
        self._idle().size = int(written)

    def _selected(self) -> Virtqueue | None:
        return selected(self.device.queues, self.QUEUE_SEL)

    def _idle(self) -> Virtqueue:
        """The selected queue, to be set up."""
        return idle(self.device.queues, self.QUEUE_SEL)
