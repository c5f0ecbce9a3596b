"""Bridges: functions with a bus behind them (header type 1).

Source: PCI Express Base Specification 5.0, section 7.5.1.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from bimetal.devices.irq.messages import Message
from bimetal.devices.pci.bar import Kind, Window
from bimetal.devices.pci.bus import PINS, PciBus, Upstream
from bimetal.devices.pci.function import Function, Identity
from bimetal.devices.register import Reg, RegArray, Value

__all__ = ["Bridge"]

PAGE, MIB = 1 << 12, 1 << 20
PORTS_32, MEMORY_64 = 1, 1
"""How wide the addresses of ports, and of prefetchable memory, may be."""


class Bridge(Function):
    """A bridge: what is ``behind`` it answers where its windows say, and talks through it."""

    kind = "pci_bridge"
    header_type = 1

    BAR = RegArray(0x10, 2, writable=0)
    PRIMARY = Reg(0x18, 1)
    SECONDARY = Reg(0x19, 1, doc="the number of the bus behind it")
    SUBORDINATE = Reg(0x1A, 1, doc="the last number behind it")
    SECONDARY_LATENCY = Reg(0x1B, 1, writable=0)
    IO_BASE = Reg(0x1C, 1, reset=PORTS_32, writable=0xF0)
    IO_LIMIT = Reg(0x1D, 1, reset=PORTS_32, writable=0xF0)
    SECONDARY_STATUS = Reg(0x1E, 2, writable=0)
    MEMORY_BASE = Reg(0x20, 2, writable=0xFFF0)
    MEMORY_LIMIT = Reg(0x22, 2, writable=0xFFF0)
    PREFETCH_BASE = Reg(0x24, 2, reset=MEMORY_64, writable=0xFFF0)
    PREFETCH_LIMIT = Reg(0x26, 2, reset=MEMORY_64, writable=0xFFF0)
    PREFETCH_BASE_HIGH = Reg(0x28, 4)
    PREFETCH_LIMIT_HIGH = Reg(0x2C, 4)
    IO_BASE_HIGH = Reg(0x30, 2)
    IO_LIMIT_HIGH = Reg(0x32, 2)
    ROM = Reg(0x38, 4, writable=0)
    BRIDGE_CONTROL = Reg(0x3E, 2, writable=0x43, SECONDARY_RESET=6)

    fixed: ClassVar[tuple[str, ...]] = ("behind", "_upstream", "_slot")

    def __init__(self, identity: Identity, pin: int = 0):
        super().__init__(identity, pin)
        self.behind: PciBus = PciBus(self)
        self._upstream: Upstream | None = None
        self._slot = 0

    def attach(self, upstream: Upstream, slot: int) -> None:
        self._upstream, self._slot = upstream, slot

    def leads_to(self, number: int) -> bool:
        return 0 < self.SECONDARY <= number <= self.SUBORDINATE

    def forwards(self, windows: Sequence[Window]) -> list[Window]:
        ranges = []
        if self.COMMAND.IO:
            ports = (self.IO_BASE & 0xF0) << 8, (self.IO_LIMIT & 0xF0) << 8 | PAGE - 1
            high = self.IO_BASE_HIGH << 16, self.IO_LIMIT_HIGH << 16
            ranges.append((Kind.IO, high[0] | ports[0], high[1] | ports[1]))
        if self.COMMAND.MEMORY:
            ranges.append((Kind.MEMORY, *_megabytes(self.MEMORY_BASE, self.MEMORY_LIMIT)))
            first, last = _megabytes(self.PREFETCH_BASE, self.PREFETCH_LIMIT)
            first |= self.PREFETCH_BASE_HIGH << 32
            ranges.append((Kind.MEMORY, first, self.PREFETCH_LIMIT_HIGH << 32 | last))
        cut = (each.cut(*wanted) for each in windows for wanted in ranges)
        return [each for each in cut if each is not None]

    def reset_behind(self) -> None:
        """Reset all that is on the bus behind it."""
        for function in self.behind:
            function.reset()

    def reset(self) -> None:
        super().reset()
        self.reset_behind()

    # Registers that move windows

    def w_IO_BASE(self, written: Value) -> None:
        self.moved(self)

    w_IO_LIMIT = w_IO_BASE_HIGH = w_IO_LIMIT_HIGH = w_IO_BASE
    w_MEMORY_BASE = w_MEMORY_LIMIT = w_IO_BASE
    w_PREFETCH_BASE = w_PREFETCH_LIMIT = w_IO_BASE
    w_PREFETCH_BASE_HIGH = w_PREFETCH_LIMIT_HIGH = w_IO_BASE

    def w_BRIDGE_CONTROL(self, written: Value) -> None:
        if written.SECONDARY_RESET:
            self.reset_behind()

    # See Upstream

    def bus_number(self) -> int:
        return self.SECONDARY

    def drive(self, source: Function, pin: int, level: bool) -> None:
        if self._upstream is not None:
            self._upstream.drive(source, (self._slot + pin) % PINS, level)

    def renew(self, pin: int) -> None:
        if self._upstream is not None:
            self._upstream.renew((self._slot + pin) % PINS)

    def pass_message(self, message: Message) -> None:
        if self._upstream is not None and self.COMMAND.MASTER:
            self._upstream.pass_message(message)

    def pass_moved(self) -> None:
        self.moved(self)


def _megabytes(base: int, limit: int) -> tuple[int, int]:
    """The first and the last address between two registers of bridges."""
    return (base & 0xFFF0) << 16, (limit & 0xFFF0) << 16 | MIB - 1
