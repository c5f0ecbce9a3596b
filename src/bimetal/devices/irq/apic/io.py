"""The I/O APIC: from interrupt pins to interrupts for local APICs (82093AA, and later versions with
a register for the end of an interrupt)."""

from __future__ import annotations

from bimetal.devices.device import Device
from bimetal.devices.irq.apic.bus import ApicBus
from bimetal.devices.irq.apic.interrupts import EVERYBODY, Interrupt
from bimetal.devices.irq.pin import Pin
from bimetal.devices.register import Reg, Value
from bimetal.memory.access import Access

__all__ = ["IoApic"]

VERSION = 0x20
FIRST_ENTRY = 0x10
UNDER_WAY, REMOTE, LEVEL, MASKED, LOGICAL = 1 << 12, 1 << 14, 1 << 15, 1 << 16, 1 << 11
READ_ONLY = UNDER_WAY | REMOTE
ENTRY_BITS = 0xFF00_0000_0001_FFFF & ~READ_ONLY


class IoApic(Device):
    """An I/O APIC with ``pins`` pins: ``apic[n]`` is pin ``n``. Lines are high when they are
    active: the polarity that a guest chooses is kept and not looked at."""

    kind = "ioapic"
    access = Access(sizes=(1, 2, 4))
    saved = ("entries", "levels", "number")
    newer = True
    fixed = ("bus", "pins")

    SELECT = Reg(0x00, writable=0xFF, doc="which register the window shows")
    WINDOW = Reg(0x10, writable=0)
    END = Reg(0x40, writable=0, doc="end of interrupt, by vector")

    def __init__(self, bus: ApicBus, pins: int = 24):
        self.bus, self.pins = bus, pins
        self.entries = [MASKED] * pins
        self.levels = self.number = 0
        super().__init__()
        bus.senders.append(self)

    def __getitem__(self, pin: int) -> Pin:
        if not 0 <= pin < self.pins:
            raise IndexError(f"{self.name} has pins 0 to {self.pins - 1}, not {pin}")
        return Pin(self, pin)

    def reset(self) -> None:
        super().reset()
        self.entries = [MASKED] * self.pins
        self.number = 0

    def set_input(self, number: int, level: bool) -> None:
        """See `Controller.set_input`."""
        if not level:
            self.levels &= ~(1 << number)
            return
        rises = not self.levels >> number & 1
        self.levels |= 1 << number
        entry = self.entries[number]
        if entry & LEVEL:
            self._service(number)
        elif rises and not entry & MASKED:
            self._send(entry)

    def renew_input(self, number: int) -> None:
        """See `Controller.renew_input`: such a pin knows levels and edges."""

    def end(self, vector: int) -> None:
        """See `TakesEnds.end`: those pins that are still high interrupt again."""
        for number, entry in enumerate(self.entries):
            if entry & REMOTE and entry & 0xFF == vector:
                self.entries[number] &= ~REMOTE
                self._service(number)

    def _service(self, number: int) -> None:
        """Interrupt for a level-triggered pin, unless that is under way."""
        entry = self.entries[number]
        if entry & (MASKED | REMOTE | LEVEL) == LEVEL and self.levels >> number & 1:
            self.entries[number] |= REMOTE
            self._send(entry)

    def _send(self, entry: int) -> None:
        destination = entry >> 56
        self.bus.send(
            Interrupt(
                entry & 0xFF,
                entry >> 8 & 7,
                EVERYBODY if destination == 0xFF else destination,
                bool(entry & LOGICAL),
                bool(entry & LEVEL),
            )
        )

    # Registers

    def r_WINDOW(self) -> int:
        index = int(self.SELECT)
        if index in (0, 2):
            return self.number << 24
        if index == 1:
            return VERSION | self.pins - 1 << 16
        number, high = divmod(index - FIRST_ENTRY, 2)
        if not 0 <= number < self.pins:
            return 0
        return self.entries[number] >> 32 * high & 0xFFFF_FFFF

    def w_WINDOW(self, written: Value) -> None:
        index = int(self.SELECT)
        if index == 0:
            self.number = written >> 24 & 0xF
        number, high = divmod(index - FIRST_ENTRY, 2)
        if not 0 <= number < self.pins:
            return
        shift = 32 * high
        entry = self.entries[number]
        changed = entry & ~(0xFFFF_FFFF << shift) | int(written) << shift
        remote = entry & READ_ONLY if changed & LEVEL else 0  # edges wait for no end
        self.entries[number] = changed & ENTRY_BITS | remote
        self._service(number)

    def w_END(self, written: Value) -> None:
        self.end(written & 0xFF)
