"""Sparse parts of VMDK images: grains that two levels of tables lead to, compressed in images that
were made for transport (Virtual Disk Format 5.0, "Hosted Sparse Extents" and "Stream-Optimized
Compressed Sparse Extents")."""

from __future__ import annotations

import os
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from functools import partial
from struct import Struct
from typing import Any

from bimetal.backends.block.block import SECTOR
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.foreign.fields import Table, damaged, read_exactly, unsupported
from bimetal.backends.block.foreign.mapped import Source
from bimetal.backends.block.foreign.vmdk_description import Description, read_description
from bimetal.backends.block.formats import VMDK
from bimetal.backends.block.qcow2.words import bad_image

__all__ = ["SPARSE", "SparseExtent"]

SPARSE = b"KDMV"

_HEADER = Struct("<4sIIQQQQIQQQB4sH433x")
"""Magic, version, flags, sectors of the disk, sectors in a grain, place and length of the
description, entries in a grain table, places of the redundant and of the grain directory, overhead,
whether it was not closed, line ends, way of compression."""

AT_END = (1 << 64) - 1
"""The place of the directory is in a copy of the header, in the last sector but one."""

ZEROED, COMPRESSED, MARKED = 1 << 2, 1 << 16, 1 << 17
"""Flags: entries 1 are zeroes; grains are compressed; they have markers."""

LINE_ENDS = b"\n \r\n"
"""What a transfer as text would have changed."""

DEFLATE = 1
VERSIONS = range(1, 4)
TABLE_ENTRIES = 512
"""Entries of a grain table, at most."""

TABLES = 64
"""Grain tables that are kept in memory."""

GRAIN_LIMIT = 16 << 20
UNPACKED = 1 << 20
"""Bytes of unpacked grains that are kept in memory; one is in any case."""

_ENTRY = Struct("<I")
_MARKER = Struct("<QI")
"""Sector of the disk, and bytes of compressed data that follow."""


class SparseExtent:
    """The part of a disk that is in ``file``: ``size`` bytes. ``description`` is that of the whole
    disk, if the file has it. Raises `BimetalError` for what cannot be read."""

    def __init__(self, file: ImageFile):
        fields = _header(file, 0)
        if fields[9] == AT_END:
            fields = _header(file, (file.length - 1024) // SECTOR * SECTOR)
        _, version, self._flags, sectors, grain, described_at, described = fields[:7]
        self._entries, directory_at, line_ends, packing = fields[7], fields[9], *fields[12:]
        if version not in VERSIONS:
            raise unsupported(file, VMDK, f"has version {version} of VMDK")
        if self._flags & 1 and line_ends != LINE_ENDS:
            raise damaged(file, "its line ends were changed: somebody sent it as text")
        if not 0 < grain * SECTOR <= GRAIN_LIMIT or not 0 < self._entries <= TABLE_ENTRIES:
            raise damaged(file, f"its tables have {self._entries} grains of {grain} sectors")
        self._packed = bool(self._flags & COMPRESSED)
        if self._packed and (packing != DEFLATE or not self._flags & MARKED):
            raise unsupported(file, VMDK, f"has compression {packing}")
        self.size, self._grain = sectors * SECTOR, grain * SECTOR
        self._file, self._fd = file, file.fd
        tables = -(-sectors // (grain * self._entries))
        self._directory = Table(file, "grain directory", directory_at * SECTOR, tables, _ENTRY)
        self._tables: OrderedDict[int, tuple[int, ...]] = OrderedDict()
        self._unpacked: OrderedDict[int, bytes] = OrderedDict()
        self.description: Description | None = None
        if described_at:
            place, length = described_at * SECTOR, described * SECTOR
            description = read_description(file, place, length)
            self.description = description if description.of_disk else None

    def runs(self, offset: int, length: int) -> Iterator[tuple[Source, int]]:
        """See `MappedImage.runs`."""
        end = offset + length
        while offset < end:
            grain, inside = divmod(offset, self._grain)
            table = self._directory[grain // self._entries]
            if not table:
                covered = self._grain * self._entries
                count = min(covered - offset % covered, end - offset)
                yield None, count
                offset += count
                continue
            count = min(self._grain - inside, end - offset)
            place = self._place(table, grain)
            if place is None:
                yield None, count
            elif self._packed:
                yield (
                    partial(self._unpacked_part, grain, place, slice(inside, inside + count)),
                    count,
                )
            else:
                yield (self._file, place + inside), count
            offset += count

    def _place(self, table: int, grain: int) -> int | None:
        """Where a grain lies in the file, by the table at the sector ``table``; None if it is
        zeroes."""
        entry: int = self._table(table)[grain % self._entries]
        if not entry or (entry == 1 and self._flags & ZEROED):
            return None
        return entry * SECTOR

    def _table(self, sector: int) -> tuple[int, ...]:
        table = self._tables.get(sector)
        if table is None:
            data = read_exactly(self._fd, sector * SECTOR, self._entries * _ENTRY.size)
            self._tables[sector] = table = tuple(entry for (entry,) in _ENTRY.iter_unpack(data))
            if len(self._tables) > TABLES:
                self._tables.popitem(last=False)
        return table

    def _unpacked_part(self, grain: int, place: int, part: slice) -> bytes:
        return self._unpack(grain, place)[part]

    def _unpack(self, grain: int, place: int) -> bytes:
        """The bytes of a compressed grain."""
        data = self._unpacked.get(grain)
        if data is None:
            data = self._unpacked[grain] = self._read_packed(grain, place)
            if len(self._unpacked) > max(1, UNPACKED // self._grain):
                self._unpacked.popitem(last=False)
        return data

    def _read_packed(self, grain: int, place: int) -> bytes:
        sector, length = _MARKER.unpack(read_exactly(self._fd, place, _MARKER.size))
        if sector * SECTOR != grain * self._grain or length > 2 * self._grain:
            raise bad_image(f"there is another grain at {place:#x}")
        packed = read_exactly(self._fd, place + _MARKER.size, length)
        try:
            data = zlib.decompressobj().decompress(packed, self._grain)
        except zlib.error as error:
            raise bad_image(f"a compressed grain at {place:#x}: {error}") from error
        if len(data) < min(self._grain, self.size - grain * self._grain):
            raise bad_image(f"a compressed grain at {place:#x} is too short")
        return data


def _header(file: ImageFile, offset: int) -> tuple[Any, ...]:
    head = os.pread(file.fd, _HEADER.size, max(offset, 0))
    if len(head) < _HEADER.size or not head.startswith(SPARSE):
        raise damaged(file, "its header is cut off" if offset == 0 else "its end is cut off")
    return _HEADER.unpack(head)
