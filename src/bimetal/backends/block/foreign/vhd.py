"""VHD, the format of Virtual PC, which QEMU calls vpc: big-endian, told by its last 512 bytes.

Source: Microsoft, Virtual Hard Disk Image Format Specification 1.0.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import groupby
from struct import Struct
from typing import Any

from bimetal.backends.block.block import SECTOR
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.foreign.fields import Table, damaged, read_exactly, unsupported
from bimetal.backends.block.foreign.mapped import MappedImage, Source
from bimetal.backends.block.formats import VPC
from bimetal.base.bits import align_up

__all__ = ["open_vhd"]

_FOOTER = Struct(">8sIIQI4sI4sQQHBBII16sB")
"""Cookie, features, version, place of the dynamic header, time, creator, its version and system,
first and present size, cylinders, heads, sectors, type, checksum, identity, saved state ("Hard
Disk Footer Format")."""

_DYNAMIC = Struct(">8sQQIIII")
"""Cookie, next, place of the table, version, entries, bytes in a block, checksum ("Dynamic Disk
Header Format")."""

COOKIE, DYNAMIC_COOKIE = b"conectix", b"cxsparse"
FOOTER, OLD_FOOTER, DYNAMIC_HEADER = 512, 511, 1024
"""Bytes of each; programs before 2004 wrote one less."""

FOOTER_SUM, DYNAMIC_SUM = 64, 36
"""Where the checksums are."""

FIXED, DYNAMIC, DIFFERENCING = 2, 3, 4

BY_GEOMETRY = (b"vpc ", b"qemu")
"""Creators whose disks are as large as their geometry; to all others the size counts."""

LARGEST_GEOMETRY = 65535 * 16 * 255
"""Sectors of the geometry of all disks that are too large for one."""

NONE = 0xFFFFFFFF

_ENTRY = Struct(">I")


def open_vhd(file: ImageFile) -> MappedImage:
    """The VHD image in ``file``. Raises `BimetalError` for one that cannot be read."""
    footer = _footer(file)
    fields = _FOOTER.unpack_from(footer)
    size, kind = _size(fields), fields[13]
    if kind == FIXED:
        return FixedVhdImage(file, size)
    if kind == DYNAMIC:
        return DynamicVhdImage(file, size, fields[3])
    if kind == DIFFERENCING:
        merge = "merge it with its parent, by Merge-VHD of Hyper-V or VBoxManage clonemedium"
        raise unsupported(file, VPC, "is the difference to another one", merge)
    raise damaged(file, f"it is of the unknown type {kind}")


class FixedVhdImage(MappedImage):
    """A file that begins with the bytes of the disk."""

    def __init__(self, file: ImageFile, size: int):
        super().__init__(file, size)
        if size > file.length - OLD_FOOTER:
            raise damaged(file, f"{size} bytes of its disk are not in the file")

    def runs(self, offset: int, length: int) -> Iterator[tuple[Source, int]]:
        """See `MappedImage.runs`."""
        yield (self.file, offset), length


class DynamicVhdImage(MappedImage):
    """A file of blocks; before each is a bitmap that tells which of its sectors were written."""

    def __init__(self, file: ImageFile, size: int, header_at: int):
        super().__init__(file, size)
        if header_at + DYNAMIC_HEADER > file.length:
            raise damaged(file, "its second header is not inside the file")
        header = read_exactly(file.fd, header_at, DYNAMIC_HEADER)
        cookie, _, table_at, _, entries, self._block, told = _DYNAMIC.unpack_from(header)
        if cookie != DYNAMIC_COOKIE or told != _checksum(header, DYNAMIC_SUM):
            raise damaged(file, "its second header is spoilt")
        if self._block < SECTOR or self._block & (self._block - 1):
            raise damaged(file, f"its blocks have {self._block} bytes")
        if entries * self._block < size:
            raise damaged(file, f"{entries} blocks of {self._block} bytes are no {size} bytes")
        self._table = Table(file, "table of blocks", table_at, entries, _ENTRY)
        self._bitmap = align_up(-(-self._block // SECTOR // 8), SECTOR)

    def runs(self, offset: int, length: int) -> Iterator[tuple[Source, int]]:
        """See `MappedImage.runs`."""
        end = offset + length
        while offset < end:
            block, inside = divmod(offset, self._block)
            count = min(self._block - inside, end - offset)
            sector = self._table[block]
            if sector == NONE:
                yield None, count
            else:
                yield from self._written(sector * SECTOR, inside, count)
            offset += count

    def _written(self, place: int, inside: int, length: int) -> Iterator[tuple[Source, int]]:
        """Where a range of the block at ``place`` is, of which some sectors were never written."""
        first, last = inside // SECTOR, (inside + length - 1) // SECTOR
        start = first // 8
        bitmap = read_exactly(self.file.fd, place + start, last // 8 - start + 1)
        bits = "".join(f"{byte:08b}" for byte in bitmap)[first % 8 :][: last - first + 1]
        at, end = inside, inside + length
        for bit, sectors in groupby(bits):
            stop = min(end, (at // SECTOR + sum(1 for _ in sectors)) * SECTOR)
            source = (self.file, place + self._bitmap + at) if bit == "1" else None
            yield source, stop - at
            at = stop


def _footer(file: ImageFile) -> bytes:
    """The footer, or what is left of it: dynamic images have a copy at their beginning."""
    seen = False
    for at in (file.length - FOOTER, file.length - OLD_FOOTER, 0):
        footer = os.pread(file.fd, FOOTER, max(at, 0))
        if footer.startswith(COOKIE) and len(footer) >= OLD_FOOTER:
            seen = True
            if _FOOTER.unpack_from(footer)[14] == _checksum(footer, FOOTER_SUM):
                return footer
    raise damaged(file, "its footer is spoilt" if seen else "it has no footer")


def _checksum(data: bytes, at: int) -> int:
    """The sum of all bytes but those of the sum itself at ``at``, inverted."""
    return ~(sum(data) - sum(data[at : at + 4])) & 0xFFFFFFFF


def _size(fields: tuple[Any, ...]) -> int:
    size: int
    geometry: int
    size, cylinders, heads, sectors = fields[9:13]
    geometry = cylinders * heads * sectors
    if fields[5] in BY_GEOMETRY and geometry < LARGEST_GEOMETRY:
        return geometry * SECTOR
    return size - size % SECTOR
