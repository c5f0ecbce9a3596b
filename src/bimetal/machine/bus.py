"""The bus: brings an access that left a CPU to what lies at its address, and the answer back."""

from __future__ import annotations

from collections import Counter

from bimetal.base import trace
from bimetal.base.log import EventLog
from bimetal.memory.space import AddressSpace, Region
from bimetal.seam import Mmio

__all__ = ["Bus"]

NOWHERE = "nowhere"


class Bus:
    """Accesses to one address space: memory-mapped or, on x86, ports.

    Reads of nothing answer ``floating`` in every byte, where the CPU does not take them for a
    fault; they and writes to nothing are guest errors. Call with the machine's lock held.
    """

    def __init__(self, space: AddressSpace, name: str, floating: int = 0):
        self.space, self.name = space, name
        self.events = EventLog(name)
        self.accesses: Counter[str] = Counter()
        """How many went to each region, by its name, or nowhere."""
        self._floating = int.from_bytes(bytes((floating,)) * 8, "little")
        self._find = space.find
        self._tracing = trace.enabled("mmio")

    def serve(self, access: Mmio) -> None:
        """Carry out an access to memory, and say whether there is nothing."""
        address, region = access.address, self._find(access.address)
        access.fault = region is None
        if access.write:
            self._write(region, address, access.size, access.value)
        else:
            access.value = self._read(region, address, access.size)

    def read(self, address: int, size: int) -> int:
        """The ``size`` bytes at ``address``, little-endian, unsigned."""
        return self._read(self._find(address), address, size)

    def write(self, address: int, size: int, value: int) -> None:
        """Store ``value`` of ``size`` bytes at ``address``."""
        self._write(self._find(address), address, size, value)

    def _read(self, region: Region | None, address: int, size: int) -> int:
        if region is None:
            self.events.guest_error(f"read where nothing is, in {_area(address)}", hex(address))
            value = self._floating & (1 << 8 * size) - 1
        elif region.device is not None:
            value = region.device.read(address - region.base, size)
        else:
            value = self._memory(region, address, size)
        self.accesses[region.name if region else NOWHERE] += 1
        if self._tracing:
            self._trace(region, address, f"read {size} -> {value:#x}")
        return value

    def _write(self, region: Region | None, address: int, size: int, value: int) -> None:
        self.accesses[region.name if region else NOWHERE] += 1
        if self._tracing:
            self._trace(region, address, f"write {size} <- {value:#x}")
        if region is None:
            self.events.guest_error(f"write where nothing is, in {_area(address)}", hex(address))
        elif region.device is not None:
            region.device.write(address - region.base, size, value)
        elif region.memory is not None and region.memory.readonly:
            self.events.guest_error(f"write to the read-only {region.name}", hex(address))
        else:
            for index, byte in enumerate(value.to_bytes(size, "little")):
                if self._find(address + index) is region:
                    self.space.write(address + index, bytes((byte,)))

    def _memory(self, region: Region, address: int, size: int) -> int:
        """An access to memory that a CPU did not do itself: one across the end of a slot, say."""
        size = min(size, region.last - address + 1)
        return int.from_bytes(self.space.read(address, size), "little")

    def _trace(self, region: Region | None, address: int, what: str) -> None:
        where = f"{region.name}+{address - region.base:#x}" if region else f"{address:#x}"
        trace.emit("mmio", f"{where} {what}")


def _area(address: int) -> str:
    """The 64 KiB around ``address``: enough to know what is missing, and few enough to count."""
    return f"{address >> 16 << 16:#x}..{address | 0xFFFF:#x}"
