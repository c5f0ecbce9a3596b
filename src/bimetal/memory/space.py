"""The guest-physical address space: which region answers at which address.

Regions never overlap, so the flat view is simply the list of regions in order; *windows* lie behind
them and answer where none does. A CPU accesses the regions that have memory directly, through the
slots of `AddressSpace.slots`; all other accesses come out as exits and are answered by the device
that `AddressSpace.find` names.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Protocol

from msgspec import Struct

from bimetal.base.errors import GuestError
from bimetal.memory.access import ANY, Access
from bimetal.memory.ram import Ram, host_address
from bimetal.seam import MemorySlot

__all__ = ["AddressSpace", "BadAddress", "MmioTarget", "Region"]


REGISTERS_LIMIT = 1024
"""Addresses whose region is remembered: few registers are accessed again and again."""


class BadAddress(GuestError, IndexError):
    """A guest-physical range that a device, or a program, was to access and is not all memory."""

    def __init__(self, address: int, length: int, why: str):
        super().__init__(f"{length} bytes at {address:#x}: {why}")
        self.address, self.length, self.why = address, length, why


class MmioTarget(Protocol):
    """What answers accesses that no memory answers: a device, as the address space sees it."""

    name: str
    access: Access
    """The accesses that it takes: the bus makes no others."""

    def read(self, offset: int, size: int) -> int:
        """The ``size`` bytes at ``offset`` as a little-endian unsigned integer. Raises
        `Refused`."""

    def write(self, offset: int, size: int, value: int) -> None:
        """Store ``value``, an unsigned integer of ``size`` bytes, at ``offset``. Raises
        `Refused`."""


class Region(Struct):
    """A stretch of guest-physical addresses with a memory, a device, or both.

    With both (a flash chip), CPUs read the memory while ``direct`` holds and everything else goes
    to the device. ``access`` is that of the device, or what the bus makes of it, and ``whole`` the
    sizes of which aligned accesses reach the device as they are; ``last`` is the address of the
    last byte. These two follow from the rest.
    """

    base: int
    size: int
    name: str
    memory: Ram | None = None
    device: MmioTarget | None = None
    direct: bool = True
    access: Access = ANY
    whole: int = 0
    last: int = 0

    def __post_init__(self) -> None:
        self.whole = 0 if self.device is None else self.access.whole(self.base, self.size)
        self.last = self.base + self.size - 1

    @property
    def kind(self) -> str:
        """``ram``, ``rom``, ``romd`` (a ROM that is also a device) or ``mmio``."""
        if self.memory is None:
            return "mmio"
        if self.device is not None:
            return "romd"
        return "rom" if self.memory.readonly else "ram"

    def __str__(self) -> str:
        return f"{self.name} ({self.base:#x}-{self.last:#x})"


class AddressSpace:
    """The regions of one machine, in order of address.

    ``generation`` grows whenever `slots` changes; the machine then hands the new slots to its CPUs.
    """

    def __init__(self) -> None:
        self.generation = 0
        self._regions: list[Region] = []
        self._bases: list[int] = []
        self._windows: list[Region] = []
        self._registers: dict[int, Region] = {}
        """The regions of some addresses at which devices were found."""

    @property
    def regions(self) -> tuple[Region, ...]:
        """All regions in order of address."""
        return tuple(self._regions)

    def add_memory(self, ram: Ram, base: int) -> Region:
        """Place ``ram`` at ``base``, a multiple of 4096."""
        return self.add(Region(base, ram.size, ram.name, memory=ram))

    def add_device(self, device: MmioTarget, base: int, size: int) -> Region:
        """Let ``device`` answer in ``size`` bytes from ``base`` on."""
        return self.add(Region(base, size, device.name, device=device, access=device.access))

    def add(self, region: Region) -> Region:
        """Place ``region``. Raises ValueError that names both parties of an overlap."""
        if region.base < 0 or region.size <= 0 or region.last >> 64:
            raise ValueError(f"{region} does not fit in a 64-bit address space")
        if region.memory is not None and (region.base | region.size) % 4096:
            raise ValueError(f"{region} is memory and not aligned to 4 KiB pages")
        at = bisect_right(self._bases, region.base)
        for other in self._regions[max(0, at - 1) : at + 1]:
            if region.base <= other.last and other.base <= region.last:
                raise ValueError(f"{region} overlaps {other}")
        self._registers.clear()
        self._regions.insert(at, region)
        self._bases.insert(at, region.base)
        self.generation += region.memory is not None
        return region

    def remove(self, region: Region) -> None:
        """Take ``region`` away again. ValueError if it is not there."""
        at = bisect_right(self._bases, region.base) - 1
        if at < 0 or self._regions[at] is not region:
            raise ValueError(f"{region} is not there")
        self._registers.clear()
        del self._regions[at], self._bases[at]
        self.generation += region.memory is not None

    def add_window(self, device: MmioTarget, base: int, size: int) -> Region:
        """Let ``device`` answer in ``size`` bytes from ``base`` on wherever no region does, as a
        bridge does on the bus behind which devices come and go."""
        window = Region(base, size, device.name, device=device, access=device.access)
        self._windows.append(window)
        return window

    def set_direct(self, region: Region, direct: bool) -> None:
        """Let CPUs read the memory of ``region`` themselves, or send every access to its device."""
        if region.direct != direct:
            region.direct = direct
            self.generation += 1

    def find(self, address: int) -> Region | None:
        """The region that ``address`` lies in, or None."""
        region = self._registers.get(address)
        return self._search(address) if region is None else region

    def _search(self, address: int) -> Region | None:
        at = bisect_right(self._bases, address) - 1
        if at >= 0 and address <= (region := self._regions[at]).last:
            if region.device is not None:
                if len(self._registers) == REGISTERS_LIMIT:
                    self._registers.clear()
                self._registers[address] = region
            return region
        for window in self._windows:
            if window.base <= address <= window.last:
                return window
        return None

    def slots(self) -> list[MemorySlot]:
        """The memory that CPUs access directly; flash and ROM are read-only slots."""
        return [
            MemorySlot(
                region.base,
                region.size,
                memory.host,
                readonly=memory.readonly or region.device is not None,
            )
            for region in self._regions
            if (memory := region.memory) is not None and region.direct
        ]

    def view(self, address: int, length: int, *, writable: bool = False) -> memoryview:
        """The bytes of guest memory from ``address`` on, without a copy: what DMA works on.

        Raises `BadAddress` unless all of them lie in one region of memory, or if ``writable`` is
        asked of memory that the guest cannot write. Release the view before the machine closes.
        """
        region = self.find(address)
        if region is None or region.memory is None or not region.direct:
            raise BadAddress(address, length, "no memory there")
        if length < 0 or address + length > region.base + region.size:
            raise BadAddress(address, length, f"leaves {region}")
        if writable and (region.memory.readonly or region.device is not None):
            raise BadAddress(address, length, f"{region} is read-only")
        start = address - region.base
        return region.memory.bytes[start : start + length]

    def around(self, address: int) -> tuple[int, memoryview]:
        """The first address, and all bytes, of the memory that ``address`` lies in and that guests
        write to: for who looks at much of it, until `generation` grows. Raises `BadAddress`."""
        region = self.find(address)
        if region is None:
            raise BadAddress(address, 1, "no memory there")
        return region.base, self.view(region.base, region.size, writable=True)

    def give_back(self, view: memoryview) -> None:
        """Give the host back the whole pages of ``view``, which this gave as writable: the guest
        needs what is in them no more, and finds zeros."""
        at = host_address(view)
        for region in self._regions:
            memory = region.memory
            if memory is not None and 0 <= at - memory.host < memory.size:
                memory.give_back(at - memory.host, len(view))

    def read(self, address: int, length: int) -> bytes:
        """A copy of guest memory. Raises `BadAddress`."""
        return bytes(self.view(address, length))

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Store into guest memory as a device does. Raises `BadAddress`."""
        self.view(address, len(data), writable=True)[:] = data

    def load(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Store into guest memory, read-only or not, as the machine does before the guest runs.

        Raises `BadAddress`.
        """
        self.view(address, len(data))[:] = data

    def mtree(self) -> str:
        """The flat view as text, one line a region: ``info mtree``."""
        lines = []
        for region in sorted([*self._regions, *self._windows], key=lambda each: each.base):
            kind = "window" if region in self._windows else region.kind
            if kind == "romd" and not region.direct:
                kind = "romd (commands)"
            lines.append(f"{region.base:016x}-{region.last:016x} {kind:<5} {region.name}")
        return "\n".join(lines)
