"""VHDX, the format of Hyper-V: little-endian, all important structures twice, with checksums.

Source: Microsoft, [MS-VHDX]: Virtual Hard Disk v2 File Format; the sections are said below.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct, error
from uuid import UUID

import msgspec

from bimetal.backends.block.block import SECTOR
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.foreign.fields import Table, damaged, read_exactly, unsupported
from bimetal.backends.block.foreign.mapped import MappedImage, Source
from bimetal.backends.block.foreign.vhdx_header import Region, current_log, read_regions
from bimetal.backends.block.foreign.vhdx_log import check_log
from bimetal.backends.block.formats import VHDX
from bimetal.backends.block.qcow2.words import bad_image

__all__ = ["VhdxImage"]

MIB = 1 << 20

BAT = UUID("2dc27766-f623-4200-9d64-115e9bfd4a08")
METADATA = UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")
"""Regions that every image has (2.2.3.2)."""

PARAMETERS = UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
DISK_SIZE = UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
SECTOR_SIZE = UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f")
PHYSICAL_SECTOR_SIZE = UUID("cda348c7-445d-4471-9cc9-e9885251c556")
IDENTITY = UUID("beca12ab-b2e6-4523-93ef-c309e000c746")
PARENT = UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c")
"""Items of metadata (2.6.2)."""

KNOWN = {PARAMETERS, DISK_SIZE, SECTOR_SIZE, PHYSICAL_SECTOR_SIZE, IDENTITY, PARENT}

_ITEMS = Struct("<8s2xH20x")
_ITEM = Struct("<16s3I4x")
"""Head of the metadata table: signature, entries. Entry: item, offset, length, flags (2.6.1)."""

METADATA_TABLE, ITEMS_LIMIT = 64 << 10, 2047
REQUIRED = 4
HAS_PARENT = 2

NOT_PRESENT, UNDEFINED, ZERO, UNMAPPED, PRESENT = 0, 1, 2, 3, 6
"""States of a block (2.5.1.1)."""

STATE, PLACE = 7, ~0xFFFFF

_ENTRY = Struct("<Q")
_WORD = Struct("<I")
_TWO_WORDS = Struct("<II")


class Shape(msgspec.Struct, frozen=True):
    """Bytes in the disk, in a block of it, in a sector (2.6.2)."""

    size: int
    block: int
    sector: int

    @property
    def between_bitmaps(self) -> int:
        """Entries of the table of blocks between any two that are for bitmaps (2.5.1)."""
        return (1 << 23) * self.sector // self.block


class VhdxImage(MappedImage):
    """The VHDX image in ``file``. Raises `BimetalError` for one that cannot be read, or that needs
    its log, which holds what was written before the image was closed, if it was not."""

    def __init__(self, file: ImageFile):
        check_log(file, current_log(file))
        regions = read_regions(file, {BAT, METADATA})
        shape = _shape(file, regions[METADATA])
        super().__init__(file, shape.size)
        self._block, self._ratio = shape.block, shape.between_bitmaps
        blocks = -(-self.size // self._block)
        needed = blocks + (blocks - 1) // self._ratio
        if needed * _ENTRY.size > regions[BAT].length:
            raise damaged(file, f"its table of blocks has no {needed} entries")
        self._table = Table(file, "table of blocks", regions[BAT].offset, needed, _ENTRY)

    def runs(self, offset: int, length: int) -> Iterator[tuple[Source, int]]:
        """See `MappedImage.runs`."""
        end = offset + length
        while offset < end:
            block, inside = divmod(offset, self._block)
            count = min(self._block - inside, end - offset)
            entry = self._table[block + block // self._ratio]
            state = entry & STATE
            if state == PRESENT:
                yield (self.file, (entry & PLACE) + inside), count
            elif state in (NOT_PRESENT, UNDEFINED, ZERO, UNMAPPED):
                yield None, count
            else:
                raise bad_image(f"block {block} is in the state {state}")
            offset += count


def _shape(file: ImageFile, region: Region) -> Shape:
    """What the metadata tells."""
    items = _items(file, region)
    try:
        block, flags = _TWO_WORDS.unpack(items[PARAMETERS])
        (size,) = _ENTRY.unpack(items[DISK_SIZE])
        (sector,) = _WORD.unpack(items[SECTOR_SIZE])
    except (KeyError, error) as problem:
        raise damaged(file, "its metadata is not complete") from problem
    if flags & HAS_PARENT:
        merge = "merge it with its parent: Merge-VHD of Hyper-V does that"
        raise unsupported(file, VHDX, "is the difference to another one", merge)
    if sector not in (512, 4096) or size % sector or size % SECTOR:
        raise damaged(file, f"its disk has {size} bytes in sectors of {sector}")
    if not MIB <= block <= 256 * MIB or block & (block - 1):
        raise damaged(file, f"its blocks have {block} bytes")
    return Shape(size, block, sector)


def _items(file: ImageFile, region: Region) -> dict[UUID, bytes]:
    """The content of the items that are known, as far as it is of use."""
    if region.length < METADATA_TABLE:
        raise damaged(file, "its metadata has no table")
    table = read_exactly(file.fd, region.offset, METADATA_TABLE)
    signature, count = _ITEMS.unpack_from(table)
    if signature != b"metadata" or count > ITEMS_LIMIT:
        raise damaged(file, "its table of metadata is spoilt")
    items = {}
    for number in range(count):
        at = _ITEMS.size + number * _ITEM.size
        name, offset, length, flags = _ITEM.unpack_from(table, at)
        item = UUID(bytes_le=name)
        if item in (PARAMETERS, DISK_SIZE, SECTOR_SIZE):
            if length > 8 or offset + length > region.length:
                raise damaged(file, "an item of its metadata is not where it says")
            items[item] = read_exactly(file.fd, region.offset + offset, length)
        elif item not in KNOWN and flags & REQUIRED:
            raise unsupported(file, VHDX, f"has metadata {item} that must be understood")
    return items
