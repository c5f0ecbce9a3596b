"""The bus: routes an access that left a CPU to what is at its address, and the answer back."""

from __future__ import annotations

from collections import Counter

from bimetal.base import trace
from bimetal.base.log import EventLog
from bimetal.memory.access import Refused
from bimetal.memory.space import AddressSpace, MmioTarget, Region
from bimetal.seam import Mmio

__all__ = ["Bus"]

NOWHERE = "nowhere"


class Bus:
    """Accesses to one address space: memory-mapped or, on x86, ports.

    Accesses reach a device as its `Access` says. If there is nothing at an address, or the device
    refuses the access, it is a guest error; a read returns ``floating`` in every byte, unless the
    CPU raises a fault. Call with the machine's lock held.
    """

    def __init__(self, space: AddressSpace, name: str, floating: int = 0):
        self.space, self.name = space, name
        self.events = EventLog(name)
        self.accesses: Counter[str] = Counter()
        """The number of accesses to each region, by name, or to no region."""
        self._floating = int.from_bytes(bytes((floating,)) * 8, "little")
        self._find = space.find
        self._refused = False
        self._tracing = trace.enabled("mmio")

    def serve(self, access: Mmio) -> None:
        """Carry out a memory-mapped access; sets its ``fault`` if a part of it was refused."""
        address, size = access.address, access.size
        region = self._find(address)
        if region is None or not size & region.whole or address & size - 1 or self._tracing:
            self._serve_any(access)
            return
        self.accesses[region.name] += 1
        device, access.fault = region.device, False
        assert device is not None
        try:
            if access.write:
                device.write(address - region.base, size, access.value)
            else:
                access.value = device.read(address - region.base, size)
        except Refused as error:
            self._refuse(region, address, error)
            access.fault = True
            if not access.write:
                access.value = self._floating & (1 << 8 * size) - 1

    def _serve_any(self, access: Mmio) -> None:
        """The same for accesses that do not reach a device as they are."""
        self._refused = False
        if access.write:
            self.write(access.address, access.size, access.value)
        else:
            access.value = self.read(access.address, access.size)
        access.fault = self._refused

    def read(self, address: int, size: int) -> int:
        """The ``size`` bytes at ``address``, little-endian, unsigned."""
        region = self._find(address)
        self.accesses[region.name if region else NOWHERE] += 1
        try:
            if region is None:
                raise Refused(f"read where nothing is, in {_area(address)}")
            device = region.device
            if device is None:
                value = self._memory(region, address, size)
            elif size & region.whole and not address & size - 1:
                value = device.read(address - region.base, size)
            else:
                value = self._read_in_pieces(region, device, address, size)
        except Refused as error:
            self._refuse(region, address, error)
            value = self._floating & (1 << 8 * size) - 1
        if self._tracing:
            self._trace(region, address, f"read {size} -> {value:#x}")
        return value

    def write(self, address: int, size: int, value: int) -> None:
        """Store ``value`` of ``size`` bytes at ``address``."""
        region = self._find(address)
        self.accesses[region.name if region else NOWHERE] += 1
        if self._tracing:
            self._trace(region, address, f"write {size} <- {value:#x}")
        try:
            if region is None:
                raise Refused(f"write where nothing is, in {_area(address)}")
            device = region.device
            if device is None:
                self._store(region, address, size, value)
            elif size & region.whole and not address & size - 1:
                device.write(address - region.base, size, value)
            else:
                self._write_in_pieces(region, device, address, size, value)
        except Refused as error:
            self._refuse(region, address, error)

    def _refuse(self, region: Region | None, address: int, why: Refused) -> None:
        self._refused = True
        where = f"{region.name}: " if region else ""
        self.events.guest_error(f"{where}{why}", hex(address))

    def _read_in_pieces(self, region: Region, device: MmioTarget, address: int, size: int) -> int:
        step = _step(region, address, size)
        if region.access.lowest and step < size and not address % size:
            return device.read(address - region.base, step)
        return sum(self.read(address + n, step) << 8 * n for n in range(0, size, step))

    def _write_in_pieces(
        self, region: Region, device: MmioTarget, address: int, size: int, value: int
    ) -> None:
        step = _step(region, address, size)
        ones = (1 << 8 * step) - 1
        if region.access.lowest and step < size and not address % size:
            device.write(address - region.base, step, value & ones)
            return
        for n in range(0, size, step):
            self.write(address + n, step, value >> 8 * n & ones)

    def _store(self, region: Region, address: int, size: int, value: int) -> None:
        if region.memory is not None and region.memory.readonly:
            self.events.guest_error(f"write to the read-only {region.name}", hex(address))
            return
        for index, byte in enumerate(value.to_bytes(size, "little")):
            if self._find(address + index) is region:
                self.space.write(address + index, bytes((byte,)))

    def _memory(self, region: Region, address: int, size: int) -> int:
        """The value of a read from memory that a CPU cannot do itself, such as one across the end
        of a slot."""
        size = min(size, region.last - address + 1)
        return int.from_bytes(self.space.read(address, size), "little")

    def _trace(self, region: Region | None, address: int, what: str) -> None:
        where = f"{region.name}+{address - region.base:#x}" if region else f"{address:#x}"
        trace.emit("mmio", f"{where} {what}")


def _step(region: Region, address: int, size: int) -> int:
    """How many bytes at once an access is carried out that is not `Region.whole`.

    A misaligned one goes byte by byte, as software does it that emulates such accesses. Raises
    `Refused` for a size that the device does not take.
    """
    if address % size:
        return 1
    if size not in region.access.sizes:
        raise Refused(f"no access of {size} bytes")
    return region.access.width if region.access.width < size else size // 2


def _area(address: int) -> str:
    """The 64 KiB around ``address``: enough to know what is missing, and few enough to count."""
    return f"{address >> 16 << 16:#x}..{address | 0xFFFF:#x}"
