"""The tables of an ITS, in the guest's memory (IHI 0069H, 5.2): devices, their interrupts, and
collections, which are redistributors by number.

Their formats are the implementation's own: eight bytes an entry, whose uppermost bit is 1 where
there is something. A guest can write to them, so what is read there is believed to be no more than
numbers.
"""

from __future__ import annotations

from msgspec import Struct

from bimetal.base.errors import GuestError
from bimetal.memory.space import AddressSpace

__all__ = ["ENTRY", "ITT_ADDRESS", "VALID", "Interrupt", "Table", "Translations"]

ENTRY = 8
VALID = 1 << 63
INDIRECT = 1 << 62
ITT_ADDRESS = (1 << 52) - 1 & ~0xFF
"""Where the entries of a device's interrupts lie: of the command MAPD, and of an entry here."""
# The rest of that entry: how many bits the interrupts' numbers have, less one. One of an interrupt:
# its LPI, and the collection above it.
EVENT_BITS = 0x1F
COLLECTION = 32
PAGE_SIZES = (0x1000, 0x4000, 0x1_0000, 0x1_0000)


class Interrupt(Struct, frozen=True):
    """What an event of a device is: an LPI for a collection, and where its entry lies."""

    lpi: int
    collection: int
    place: int


class Table:
    """A table as GITS_BASERn describes it (12.19.1): pages in a row, or of pages."""

    def __init__(self, memory: AddressSpace, base: int):
        self._memory, self._base = memory, base
        self._page = PAGE_SIZES[base >> 8 & 3]
        self._size = ((base & 0xFF) + 1) * self._page
        address = base & ((1 << 48) - 1) & -self._page
        if self._page == PAGE_SIZES[2]:
            address |= (base >> 12 & 0xF) << 48
        self._address = address

    def place(self, index: int) -> int:
        """The address of entry ``index``. Raises `GuestError` if there is none."""
        if not self._base & VALID:
            raise GuestError("a table that has not been given")
        if not self._base & INDIRECT:
            return self._address + self._within(index * ENTRY)
        page, rest = divmod(index, self._page // ENTRY)
        above = _read(self._memory, self._address + self._within(page * ENTRY))
        if not above & VALID:
            raise GuestError(f"entry {index} of a table of pages, which is not there")
        return (above & ((1 << 52) - 1) & -self._page) + rest * ENTRY

    def _within(self, offset: int) -> int:
        if offset >= self._size:
            raise GuestError(f"an entry at {offset:#x} of a table of {self._size:#x} bytes")
        return offset


def _read(memory: AddressSpace, address: int) -> int:
    return int.from_bytes(memory.read(address, ENTRY), "little")


class Translations:
    """What the tables ``devices`` and ``collections`` say. All methods raise `GuestError` where
    something is not there, or not in memory."""

    def __init__(self, memory: AddressSpace, devices: int, collections: int):
        self._memory = memory
        self._devices, self._collections = Table(memory, devices), Table(memory, collections)

    def set_device(self, device: int, address: int, bits: int) -> None:
        """``device`` has events of so many bits, with entries from ``address`` on."""
        entry = VALID | address & ITT_ADDRESS | bits - 1 & EVENT_BITS
        self._write(self._devices.place(device), entry)

    def forget_device(self, device: int) -> None:
        """``device`` has no events."""
        self._write(self._devices.place(device), 0)

    def set_collection(self, number: int, redistributor: int | None) -> None:
        """Interrupts of the collection go to that redistributor, or nowhere."""
        entry = 0 if redistributor is None else VALID | redistributor
        self._write(self._collections.place(number), entry)

    def collection(self, number: int) -> int:
        """The number of the redistributor of a collection."""
        entry = _read(self._memory, self._collections.place(number))
        if not entry & VALID:
            raise GuestError(f"collection {number}, which goes nowhere")
        return entry & ~VALID

    def event_place(self, device: int, event: int) -> int:
        """Where the entry of an event lies."""
        entry = _read(self._memory, self._devices.place(device))
        if not entry & VALID:
            raise GuestError(f"device {device:#x}, which has no events")
        if event >> (entry & EVENT_BITS) + 1:
            raise GuestError(f"event {event} of device {device:#x}, which has fewer")
        return (entry & ITT_ADDRESS) + event * ENTRY

    def event(self, device: int, event: int) -> Interrupt:
        """What an event of a device is."""
        place = self.event_place(device, event)
        entry = _read(self._memory, place)
        if not entry & VALID:
            raise GuestError(f"event {event} of device {device:#x}, which is no interrupt")
        return Interrupt(entry & 0xFFFF_FFFF, entry >> COLLECTION & 0xFFFF, place)

    def set_event(self, interrupt: Interrupt) -> None:
        """An event is this interrupt."""
        entry = VALID | interrupt.collection << COLLECTION | interrupt.lpi
        self._write(interrupt.place, entry)

    def forget_event(self, place: int) -> None:
        """Unmap the event whose entry is at this address."""
        self._write(place, 0)

    def _write(self, address: int, entry: int) -> None:
        self._memory.write(address, entry.to_bytes(ENTRY, "little"))
