"""Memory by the addresses that the program on a CPU uses, for calls that pass pointers."""

from __future__ import annotations

from collections.abc import Iterator

from bimetal.memory.space import AddressSpace, BadAddress
from bimetal.seam import Cpu, Translating

__all__ = ["ProgramMemory"]

PAGE = 4096
ADDRESSES = 1 << 64


class ProgramMemory:
    """Memory as ``cpu``, which is not running, sees it in its mode.

    Every method raises `BadAddress` for addresses that the program could not access itself, and for
    those that are not memory. Addresses wrap to 0 after the last one.
    """

    def __init__(self, space: AddressSpace, cpu: Cpu):
        self._space, self._cpu = space, cpu

    def read(self, address: int, length: int) -> bytes:
        """A copy of ``length`` bytes."""
        pieces = self._pieces(address, length, write=False)
        return b"".join(self._space.read(place, size) for place, size in pieces)

    def write(self, address: int, data: bytes) -> None:
        """Store ``data``, all of it or nothing."""
        done = 0
        for place, size in list(self._pieces(address, len(data), write=True)):
            self._space.write(place, data[done : done + size])
            done += size

    def text(self, address: int, limit: int) -> bytes:
        """The bytes up to a zero, or ``limit`` of them."""
        found = b""
        for place, size in self._pieces(address, limit, write=False):
            part, zero, _ = self._space.read(place, size).partition(b"\0")
            found += part
            if zero:
                break
        return found

    def _pieces(self, address: int, length: int, *, write: bool) -> Iterator[tuple[int, int]]:
        """The parts of a range by page: guest-physical address and size of each."""
        while length > 0:
            place = self._place(address % ADDRESSES, length, write)
            size = min(length, PAGE - address % PAGE)
            yield place, size
            address, length = address + size, length - size

    def _place(self, address: int, length: int, write: bool) -> int:
        cpu = self._cpu
        place = cpu.translate(address, write=write) if isinstance(cpu, Translating) else None
        if place is None:
            raise BadAddress(address, length, "the program cannot reach it")
        return place
