"""Guest-physical memory of a machine, for programs that look into it."""

from __future__ import annotations

from collections.abc import Iterator
from operator import index as integer
from typing import Any, overload

from bimetal.machine.runner import Runner
from bimetal.memory.space import AddressSpace, BadAddress

__all__ = ["MemoryView"]


class MemoryView:
    """Guest-physical memory, as devices reach it: ``memory[0x8000_0000]`` is a byte, and
    ``memory[start:end]`` are bytes, a copy. Assign a byte, or as many bytes as the slice has.

    Read-only memory can be written too, as with a chip programmer. The machine is halted during
    writes, and CPUs drop what they have cached of the old contents. Raises `BadAddress`, an
    IndexError, without writing anything, unless the whole range is memory; `BimetalError` once the
    machine is closed.
    """

    __slots__ = ("_runner",)

    def __init__(self, runner: Runner):
        self._runner = runner

    def read(self, address: int, length: int) -> bytes:
        """A copy of ``length`` bytes."""
        if length < 0:
            raise ValueError(f"{length} bytes cannot be read")
        with self._runner.locked():
            return b"".join(self._pieces(integer(address), integer(length)))

    def ranges(self) -> list[tuple[int, int]]:
        """Where there is memory: the address and the length in bytes of each range, in order."""
        with self._runner.locked():
            slots = self._runner.hardware.space.slots()
            return sorted((slot.base, slot.size) for slot in slots)

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Store ``data``."""
        source = memoryview(data).cast("B")
        with self._runner.held():
            done = 0
            for piece in list(self._pieces(integer(address), len(source))):
                piece[:] = source[done : done + len(piece)]
                done += len(piece)
            for vcpu in self._runner.vcpus:
                vcpu.cpu.flush()

    @overload
    def __getitem__(self, where: int) -> int: ...
    @overload
    def __getitem__(self, where: slice[int, int, None]) -> bytes: ...
    def __getitem__(self, where: Any) -> int | bytes:
        if isinstance(where, slice):
            return self.read(*_stretch(where))
        return self.read(_address(where), 1)[0]

    @overload
    def __setitem__(self, where: int, value: int) -> None: ...
    @overload
    def __setitem__(
        self, where: slice[int, int, None], value: bytes | bytearray | memoryview
    ) -> None: ...
    def __setitem__(self, where: Any, value: Any) -> None:
        if not isinstance(where, slice):
            self.write(_address(where), bytes((integer(value),)))
            return
        address, length = _stretch(where)
        data = memoryview(value).cast("B")
        if len(data) != length:
            raise ValueError(f"{len(data)} bytes do not fit into a slice of {length}")
        self.write(address, data)

    __iter__ = None  # or else Python would count addresses from 0 to the first hole

    def __repr__(self) -> str:
        if self._runner.closed:
            return "<memory of a closed machine>"
        return f"<memory: {_map(self._runner.hardware.space)}>"

    def _pieces(self, address: int, length: int) -> Iterator[memoryview]:
        """The bytes themselves, by region: memory may be made of several side by side."""
        space, done = self._runner.hardware.space, 0
        while done < length:
            region = space.find(address + done)
            here = region.last + 1 - address - done if region else length
            take = min(length - done, here)
            try:
                yield space.view(address + done, take)
            except BadAddress as error:
                why = f"{error.why}; there is memory at {_map(space)}"
                raise BadAddress(address, length, why) from None
            done += take


def _address(where: object) -> int:
    address = integer(where)  # type: ignore[arg-type]
    if address < 0:
        raise IndexError(f"guest-physical addresses begin at 0: {address} is none")
    return address


def _stretch(where: slice[Any, Any, Any]) -> tuple[int, int]:
    """Address and length of a slice."""
    if where.step is not None and integer(where.step) != 1:
        raise ValueError(f"memory is taken in one piece, not every {where.step} bytes")
    if where.start is None or where.stop is None:
        raise ValueError("guest-physical memory has holes: give both ends, like memory[start:end]")
    start, stop = _address(where.start), _address(where.stop)
    if stop < start:
        raise ValueError(f"the slice ends at {stop:#x}, before it begins at {start:#x}")
    return start, stop - start


def _map(space: AddressSpace) -> str:
    return ", ".join(
        f"{region.base:#x}-{region.last:#x} ({region.name})"
        for region in space.regions
        if region.memory is not None and region.direct
    )
