"""ELF files of a few bytes, right or wrong, and memory for them."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from bimetal.firmware.memory_room import MemoryRoom
from bimetal.memory.ram import Ram
from bimetal.memory.space import AddressSpace

__all__ = ["EXECUTABLE", "INDEPENDENT", "RAM", "Part", "elf", "room"]

RAM = 0x8000_0000
EXECUTABLE, INDEPENDENT = 2, 3
HEADER_SIZE, PART_SIZE = 64, 56


@dataclass(frozen=True)
class Part:
    """A program header and its contents; ``physical`` is ``virtual`` unless it is given."""

    virtual: int
    data: bytes = b"\x13\0\0\0" * 4
    size: int | None = None
    physical: int | None = None
    flags: int = 7
    kind: int = 1
    file_size: int | None = None


def elf(
    *parts: Part,
    entry: int = RAM,
    kind: int = EXECUTABLE,
    machine: int = 243,
    ident: bytes = b"\x7fELF\x02\x01\x01",
) -> bytes:
    """An ELF file of 64 bits with these parts, and no sections."""
    order = ">" if ident[5] == 2 else "<"
    at = HEADER_SIZE + PART_SIZE * len(parts)
    headers, contents = b"", b""
    for part in parts:
        length = len(part.data) if part.file_size is None else part.file_size
        headers += struct.pack(
            order + "IIQQQQQQ",
            part.kind,
            part.flags,
            at + len(contents),
            part.virtual,
            part.virtual if part.physical is None else part.physical,
            length,
            length if part.size is None else part.size,
            4,
        )
        contents += part.data
    header = struct.pack(
        order + "HHIQQQIHHHHHH",
        *(kind, machine, 1, entry, HEADER_SIZE, 0, 0, HEADER_SIZE, PART_SIZE, len(parts), 0, 0, 0),
    )
    return ident.ljust(16, b"\0") + header + headers + contents


def room(size: int = 1 << 20, *others: tuple[int, int]) -> MemoryRoom:
    """``size`` bytes of RAM, and further memories by address and size."""
    space = AddressSpace()
    space.add_memory(Ram("ram", size), RAM)
    for base, length in others:
        space.add_memory(Ram(f"memory@{base:x}", length), base)
    return MemoryRoom(space, RAM)
