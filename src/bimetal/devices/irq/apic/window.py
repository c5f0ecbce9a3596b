"""The registers of local APICs in memory (xAPIC mode): each CPU finds its own at one address for
all. What devices write there are message-signalled interrupts."""

from __future__ import annotations

from bimetal.base.errors import GuestError
from bimetal.devices.device import Device
from bimetal.devices.irq.apic.bus import ApicBus
from bimetal.devices.irq.apic.interrupts import from_message
from bimetal.devices.irq.apic.local import ADDRESS, ENABLED, LocalApic
from bimetal.memory.access import Access
from bimetal.memory.initiator import Initiator

__all__ = ["ApicWindow"]

OWN = 0x1000
"""Bytes that show a CPU's own registers."""


class ApicWindow(Device):
    """The window to the local APICs on ``bus``, at `ADDRESS`; ``initiator`` is whose access it
    is."""

    kind = "apic"
    mmio_size = 0x10_0000
    access = Access(sizes=(1, 2, 4))
    newer = True
    fixed = ("bus", "initiator")

    def __init__(self, bus: ApicBus, initiator: Initiator):
        self.bus, self.initiator = bus, initiator
        super().__init__()

    def take_message(self, requester: int, offset: int, word: int) -> None:
        """See `TakesMessages`."""
        self.bus.send(from_message(offset, word))

    def read(self, offset: int, size: int) -> int:
        """A register of the CPU that asks; a part of one has undefined bits on processors."""
        try:
            local, register = self._local(offset)
        except GuestError as error:
            self.guest_error(str(error))
            return 0
        inside = offset & 0xF
        if inside + size > 4:
            return 0
        return local.look(register) >> 8 * inside & (1 << 8 * size) - 1

    def write(self, offset: int, size: int, value: int) -> None:
        """Write a register of the CPU that asks."""
        try:
            local, register = self._local(offset)
            if size != 4 or offset & 0xF:
                raise GuestError(f"a write of {size} bytes at {offset:#x}: registers are 4 wide")
        except GuestError as error:
            self.guest_error(str(error))
            return
        local.change(register, value)

    def _local(self, offset: int) -> tuple[LocalApic, int]:
        local = self.bus.locals[self.initiator.cpu]
        if offset >= OWN or local.extended or not local.BASE & ENABLED:
            raise GuestError(f"access to {ADDRESS + offset:#x}, where no local APIC is now")
        return local, offset >> 4
