"""Message-signalled interrupts of a function: MSI and MSI-X.

Source: PCI Express Base Specification 5.0, sections 6.1.4, 7.7.1 and 7.7.2.
"""

from __future__ import annotations

from collections.abc import Callable

from bimetal.devices.device import Device
from bimetal.devices.pci.config import Capability
from bimetal.devices.pci.function import Function, MessageWrite
from bimetal.devices.register import Reg, RegArray, Value
from bimetal.memory.access import Access

__all__ = ["Msi", "MsixCapability", "MsixTable", "add_msix"]

MOST_VECTORS = 128
"""What has room in one page, with the bits of what is pending."""
PENDING = 0x800
WIDE, MASKS = 1 << 7, 1 << 8
MASKED = 1


class Msi(Capability):
    """MSI with one message, which can be masked. `trigger` sends it."""

    number = 0x05
    mmio_size = 0x18
    saved = ("pending",)
    fixed = ("_send",)

    CONTROL = Reg(0x02, 2, writable=0x71, ENABLED=0)
    ADDRESS = Reg(0x04, 8, writable=~3 & (1 << 64) - 1)
    DATA = Reg(0x0C, 2)
    MASK = Reg(0x10, 4, writable=1)
    PENDING = Reg(0x14, 4, writable=0)

    def __init__(self, send: Callable[[MessageWrite], None]):
        self._send, self.pending = send, False
        super().__init__()
        self.reset()

    def reset(self) -> None:
        super().reset()
        self.CONTROL, self.pending = WIDE | MASKS, False

    @property
    def enabled(self) -> bool:
        """Whether software wants messages, and not the interrupt pin."""
        return bool(self.CONTROL.ENABLED)

    def trigger(self) -> None:
        """Send the message, now or when it is not masked any more."""
        self.pending = True
        self._deliver()

    def r_PENDING(self) -> int:
        return int(self.pending)

    def w_CONTROL(self, written: Value) -> None:
        self._deliver()

    def w_MASK(self, written: Value) -> None:
        self._deliver()

    def _deliver(self) -> None:
        if self.pending and self.enabled and not self.MASK & MASKED:
            self.pending = False
            self._send(MessageWrite(int(self.ADDRESS), int(self.DATA)))


class MsixTable(Device):
    """The messages of ``vectors`` vectors, and which of them are pending, in a page of memory."""

    kind = "msix"
    access = Access(sizes=(4, 8), width=4)
    saved = ("pending", "enabled", "masked")
    fixed = ("vectors", "pending_words", "_send")

    ADDRESS = RegArray(0x0, "vectors", stride=16, size=8, writable=~3 & (1 << 64) - 1)
    DATA = RegArray(0x8, "vectors", stride=16)
    CONTROL = RegArray(0xC, "vectors", stride=16, reset=MASKED, writable=MASKED, MASKED=0)
    PENDING = RegArray(PENDING, "pending_words", size=8, writable=0)

    def __init__(self, vectors: int, send: Callable[[MessageWrite], None]):
        if not 1 <= vectors <= MOST_VECTORS:
            raise ValueError(f"there are 1 to {MOST_VECTORS} vectors, not {vectors}")
        self.vectors, self._send = vectors, send
        self.pending_words = -(-vectors // 64)
        self.pending = 0
        self.enabled = self.masked = False
        """What software says in configuration space of all vectors."""
        super().__init__()

    def reset(self) -> None:
        super().reset()
        self.pending = 0
        self.enabled = self.masked = False

    def trigger(self, vector: int) -> None:
        """Send the message of ``vector``, now or when it is not masked any more."""
        if not self.enabled or vector >= self.vectors:
            return
        if self.masked or self.CONTROL[vector] & MASKED:
            self.pending |= 1 << vector
        else:
            self._send(MessageWrite(self.ADDRESS[vector], self.DATA[vector]))

    def say(self, *, enabled: bool, masked: bool) -> None:
        """Software says of all vectors whether they are enabled and masked."""
        self.enabled, self.masked = enabled, masked
        for vector in range(self.vectors):
            self._deliver(vector)

    def r_PENDING(self, index: int) -> int:
        return self.pending >> 64 * index & (1 << 64) - 1

    def w_CONTROL(self, index: int, written: Value) -> None:
        self._deliver(index)

    def _deliver(self, vector: int) -> None:
        if self.pending >> vector & 1 and self.enabled:
            self.pending &= ~(1 << vector)
            self.trigger(vector)


class MsixCapability(Capability):
    """Where the table of a function's messages is: in base address register ``bar``."""

    number = 0x11
    mmio_size = 12

    CONTROL = Reg(0x02, 2, writable=0xC000, LAST=(10, 0), MASKED=14, ENABLED=15)
    TABLE = Reg(0x04, 4, writable=0)
    PENDING = Reg(0x08, 4, writable=0)

    saved = ("table",)
    fixed = ("_bar",)

    def __init__(self, table: MsixTable, bar: int):
        self.table, self._bar = table, bar
        super().__init__()
        self.reset()

    def reset(self) -> None:
        super().reset()
        self.table.reset()
        self.CONTROL = self.table.vectors - 1
        self.TABLE, self.PENDING = self._bar, PENDING | self._bar

    def w_CONTROL(self, written: Value) -> None:
        control = self.CONTROL
        self.table.say(enabled=bool(control.ENABLED), masked=bool(control.MASKED))


def add_msix(function: Function, vectors: int, bar: int, at: int | None = None) -> MsixTable:
    """Give ``function`` MSI-X with so many vectors, whose table base address register ``bar`` is to
    stand for. Its capability lies ``at`` a place, or where there is room."""
    table = MsixTable(vectors, function.send)
    table.events = function.events
    function.add_capability(MsixCapability(table, bar), at)
    return table
