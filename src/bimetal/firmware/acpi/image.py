"""All tables of a machine as bytes with their root, in one of two forms: at addresses that the
machine chooses, or as files for firmware that puts them where it likes.

The second form is that of QEMU's table loader (docs/specs/acpi_hw_hotplug.rst names its users; the
commands are in hw/acpi/bios-linker-loader.c of its source): a list of commands of 128 bytes, which
have firmware load a file, add the address of a file to a pointer, and compute a checksum.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from msgspec import Struct

from bimetal.firmware.acpi.table import HEADER_SIZE, OEM, Table
from bimetal.firmware.program import Segment

__all__ = ["PlacedTables", "TableImage"]

ALIGNMENT = 16
CHECKSUM = 9
"""Where tables have theirs."""
XSDT_POINTER, RSDP_SIZE = 24, 36
RSDP_CHECKSUMS = ((8, 20), (32, RSDP_SIZE))
"""Where the root has its checksums, and of how many of its bytes."""

ROOT_FILE, TABLES_FILE, LOADER_FILE = "etc/acpi/rsdp", "etc/acpi/tables", "etc/table-loader"
ALLOCATE, ADD_POINTER, ADD_CHECKSUM = 1, 2, 3
ANYWHERE, SEGMENT_F = 1, 2
"""Zones of memory; a PC's firmware has the root where operating systems look for it there."""


class PlacedTables(Struct, frozen=True):
    """Tables that are ready to be put into memory; ``rsdp`` is the address of their root."""

    segment: Segment
    rsdp: int


class TableImage:
    """``tables``, those that they point to, and an XSDT of the former.

    ``content`` are their bytes, one after the other; pointers in it, at ``pointers``, count from
    its start. ``extents`` are the offset and the size of each table.
    """

    def __init__(self, tables: Sequence[Table]):
        self._content = bytearray()
        self._offsets: dict[int, int] = {}
        self.extents: list[tuple[int, int]] = []
        self.pointers: list[int] = []
        entries = {HEADER_SIZE + 8 * number: table for number, table in enumerate(tables)}
        self.xsdt = self._add(Table("XSDT", 1, bytes(8 * len(tables)), entries))

    @property
    def content(self) -> bytes:
        """See the class."""
        return bytes(self._content)

    def at(self, start: int) -> PlacedTables:
        """Root and tables from the address ``start`` on."""
        base = start + RSDP_SIZE + -RSDP_SIZE % ALIGNMENT
        content = bytearray(self._content)
        for at in self.pointers:
            (offset,) = struct.unpack_from("<Q", content, at)
            struct.pack_into("<Q", content, at, base + offset)
        for at, size in self.extents:
            content[at + CHECKSUM] = _checksum(content[at : at + size])
        root = bytearray(self._root(base + self.xsdt))
        for at, size in RSDP_CHECKSUMS:
            root[at] = _checksum(root[:size])
        image = bytes(root).ljust(base - start, b"\0") + content
        return PlacedTables(Segment(start, image, len(image)), start)

    def files(self) -> Mapping[str, bytes]:
        """The files for firmware, by their names: the tables, their root, and what to do."""
        commands = [
            _command(ALLOCATE, ROOT_FILE, struct.pack("<IB", ALIGNMENT, SEGMENT_F)),
            _command(ALLOCATE, TABLES_FILE, struct.pack("<IB", ALIGNMENT, ANYWHERE)),
            *(_pointer(TABLES_FILE, at) for at in self.pointers),
            *(_sum(TABLES_FILE, at + CHECKSUM, at, size) for at, size in self.extents),
            _pointer(ROOT_FILE, XSDT_POINTER),
            *(_sum(ROOT_FILE, at, 0, size) for at, size in RSDP_CHECKSUMS),
        ]
        return {
            ROOT_FILE: self._root(self.xsdt),
            TABLES_FILE: self.content,
            LOADER_FILE: b"".join(commands),
        }

    def _add(self, table: Table) -> int:
        """Add ``table`` behind those that it points to; its offset."""
        targets = {at: self._offset(other) for at, other in table.pointers.items()}
        self._content.extend(bytes(-len(self._content) % ALIGNMENT))
        start = len(self._content)
        self._content.extend(bytes(table))
        self.extents.append((start, len(self._content) - start))
        for at, target in targets.items():
            struct.pack_into("<Q", self._content, start + at, target)
            self.pointers.append(start + at)
        return start

    def _offset(self, table: Table) -> int:
        """Where ``table`` is, or is put now."""
        if id(table) not in self._offsets:
            self._offsets[id(table)] = self._add(table)
        return self._offsets[id(table)]

    @staticmethod
    def _root(xsdt: int) -> bytes:
        """The root (5.2.5.3) of tables whose XSDT is there, with checksums of 0."""
        return struct.pack("<8sB6sBIIQB3x", b"RSD PTR ", 0, OEM, 2, 0, RSDP_SIZE, xsdt, 0)


def _checksum(data: bytes | bytearray) -> int:
    """The byte that makes the sum of all bytes 0, if the byte in its place is 0 now."""
    return -sum(data) & 0xFF


def _command(number: int, *parts: str | bytes) -> bytes:
    """A command of the loader; names of files take 56 bytes."""
    encoded = (each.encode().ljust(56, b"\0") if isinstance(each, str) else each for each in parts)
    return (struct.pack("<I", number) + b"".join(encoded)).ljust(128, b"\0")


def _pointer(file: str, at: int) -> bytes:
    """To the 8 bytes at ``at`` of ``file`` the address of the tables is added."""
    return _command(ADD_POINTER, file, TABLES_FILE, struct.pack("<IB", at, 8))


def _sum(file: str, at: int, start: int, size: int) -> bytes:
    """The byte at ``at`` becomes the checksum of ``size`` bytes from ``start`` on."""
    return _command(ADD_CHECKSUM, file, struct.pack("<III", at, start, size))
