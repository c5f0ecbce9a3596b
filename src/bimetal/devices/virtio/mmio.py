"""Version 2 of the MMIO transport (virtio 1.2, section 4.2).

Shared memory regions and the reset of single queues (VIRTIO_F_RING_RESET) are not offered, as the
standard allows.
"""

from __future__ import annotations

from bimetal.devices.register import Reg, Value
from bimetal.devices.virtio.mmio_slot import VirtioSlot

__all__ = ["VirtioMmio"]

NOTHING = 0xFFFF_FFFF
"""Both halves of the length of a shared memory region that does not exist."""


class VirtioMmio(VirtioSlot):
    """A slot for drivers of virtio 1."""

    VERSION = Reg(0x004, reset=2, readonly=True)
    QUEUE_READY = Reg(0x044)
    QUEUE_DESC_LOW = Reg(0x080)
    QUEUE_DESC_HIGH = Reg(0x084)
    QUEUE_DRIVER_LOW = Reg(0x090)
    QUEUE_DRIVER_HIGH = Reg(0x094)
    QUEUE_DEVICE_LOW = Reg(0x0A0)
    QUEUE_DEVICE_HIGH = Reg(0x0A4)
    SHM_SEL = Reg(0x0AC)
    SHM_LEN_LOW = Reg(0x0B0, reset=NOTHING, readonly=True)
    SHM_LEN_HIGH = Reg(0x0B4, reset=NOTHING, readonly=True)
    SHM_BASE_LOW = Reg(0x0B8, reset=NOTHING, readonly=True)
    SHM_BASE_HIGH = Reg(0x0BC, reset=NOTHING, readonly=True)
    CONFIG_GENERATION = Reg(0x0FC, readonly=True)

    derived = ("_turned_away",)
    _turned_away = False
    """Whether a driver has asked for the version of a device, and nothing since."""

    def r_VERSION(self) -> int:
        self._turned_away = bool(self.device.queues)
        return int(self.VERSION)

    def r_DEVICE_ID(self) -> int:
        self._turned_away = False
        return super().r_DEVICE_ID()

    def close(self) -> None:
        if self._turned_away:
            self.events.hint(
                "a driver asked for the version, which is 2, and went away; if it wants version 1, "
                "give the board the option virtio-mmio=legacy"
            )
            self._turned_away = False
        super().close()

    def r_CONFIG_GENERATION(self) -> int:
        return self.device.config_generation

    def r_QUEUE_READY(self) -> int:
        queue = self._selected()
        return int(queue.ready) if queue else 0

    def w_QUEUE_READY(self, written: Value) -> None:
        queue = self._selected()
        if queue is None:
            self.guest_error("use of a queue that does not exist")
        elif written & 1 and not queue.ready:
            self.device.enable_queue(self.QUEUE_SEL)
        elif not written & 1:
            self.device.disable_queue(self.QUEUE_SEL)

    def w_QUEUE_DESC_LOW(self, written: Value) -> None:
        queue = self._idle()
        queue.descriptors = _low(queue.descriptors, written)

    def w_QUEUE_DESC_HIGH(self, written: Value) -> None:
        queue = self._idle()
        queue.descriptors = _high(queue.descriptors, written)

    def w_QUEUE_DRIVER_LOW(self, written: Value) -> None:
        queue = self._idle()
        queue.driver = _low(queue.driver, written)

    def w_QUEUE_DRIVER_HIGH(self, written: Value) -> None:
        queue = self._idle()
        queue.driver = _high(queue.driver, written)

    def w_QUEUE_DEVICE_LOW(self, written: Value) -> None:
        queue = self._idle()
        queue.device = _low(queue.device, written)

    def w_QUEUE_DEVICE_HIGH(self, written: Value) -> None:
        queue = self._idle()
        queue.device = _high(queue.device, written)


def _low(address: int, word: int) -> int:
    return address & ~0xFFFF_FFFF | word


def _high(address: int, word: int) -> int:
    return address & 0xFFFF_FFFF | word << 32
