"""Where programs may lie: the plain memory of a machine, and what to say if it is not there."""

from __future__ import annotations

from bimetal.base.bits import align_up
from bimetal.base.sizes import MIB, format_size
from bimetal.memory.space import AddressSpace, Region

__all__ = ["MemoryRoom"]

SENSIBLE = 1 << 40
"""Bytes of memory that a person may be advised to give a machine."""


class MemoryRoom:
    """The RAM and ROM of ``space``; ``start`` is where programs usually begin in its RAM.

    Flash is left out: what lies in it is the user's image.
    """

    def __init__(self, space: AddressSpace, start: int):
        self.space, self.start = space, start
        self._regions = [
            region for region in space.regions if region.memory and region.device is None
        ]

    @property
    def size(self) -> int:
        """Bytes of RAM that programs may use."""
        ram = self.space.find(self.start)
        return 0 if ram is None else ram.base + ram.size - self.start

    @property
    def linking(self) -> str:
        """The option by which compilers link a program for this memory."""
        return f"-Wl,-Ttext={self.start:#x}"

    def missing_before(self, address: int, size: int, *, writable: bool = False) -> int | None:
        """Of ``size`` bytes from ``address`` on, how many lie before the memory that holds all
        others; ``size`` if no memory holds any of them, None if it ends before they do.

        With ``writable`` only memory counts that the guest can write."""
        end = address + size
        touched = [
            each
            for each in self._regions
            if each.base < end and address <= each.last and not (writable and each.kind == "rom")
        ]
        if not touched:
            return size
        return max(0, touched[-1].base - address) if end - 1 <= touched[-1].last else None

    def _below(self) -> Region | None:
        """The RAM that ends where programs would begin, if there is so little."""
        return next(
            (each for each in self._regions if each.kind == "ram" and each.last < self.start), None
        )

    def explain(self, address: int, size: int) -> tuple[str, str]:
        """What is wrong with a program that needs ``size`` bytes at ``address``: a cause, to stand
        behind its name, and a remedy."""
        needs = f"needs {format_size(size)} of memory at {address:#x}"
        elsewhere = f"use one made for the memory at {self.start:#x}, as with {self.linking}"
        found = self.space.find(address)
        if found is not None and found.device is not None:
            return f"{needs}, where the machine has {found.name}", elsewhere
        ram = self.space.find(self.start) or self._below()
        if ram is None or address < ram.base:
            return f"{needs}, and the machine has none there", elsewhere
        wanted = align_up(address + size - ram.base, MIB)
        if ram.size < wanted <= SENSIBLE:
            held = f"{format_size(ram.size)} from {ram.base:#x} on"
            return f"{needs}, and the machine has {held}", f"give it at least {format_size(wanted)}"
        return f"{needs}, and the machine has none there", elsewhere
