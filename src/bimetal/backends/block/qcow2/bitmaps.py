"""Dirty bitmaps: what has changed since a backup. Others keep them up; we know where they are, and
mark those that do not tell of our changes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from struct import Struct

from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.qcow2.header import BITMAPS_VALID, Header
from bimetal.backends.block.qcow2.words import bad_image, write_all

__all__ = ["AUTO", "IN_USE", "Bitmap", "mark_in_use", "read_bitmaps"]

IN_USE, AUTO = 1, 2
"""Flags: the bitmap was not stored when it was last in use, and is not to be believed; it tells of
every change of the disk."""

_FLAGS_AT = 12
"""Where in an entry of the directory the flags are."""

DIRECTORY_LIMIT = 64 << 20
TABLE_LIMIT = 8 << 20

_ENTRY = Struct(">QIIBBHI")
"""Offset and entries of its table, flags, type, granularity, lengths of name and more data."""


@dataclass
class Bitmap:
    """``table`` is the offset of its table, which has ``entries`` offsets of its clusters;
    ``place`` is that of its entry in the directory. A bit stands for ``granularity`` bytes."""

    name: str
    table: int
    entries: int
    flags: int
    granularity: int
    place: int


def mark_in_use(file: ImageFile, header: Header, kind: int = AUTO) -> list[str]:
    """Mark those bitmaps as in use that should tell of every change of the disk, and will not, or
    with ``kind`` 0 all of them; their names. Raises OSError."""
    outdated = [each for each in read_bitmaps(file, header) if each.flags & kind == kind]
    for bitmap in outdated:
        flags = bitmap.flags | IN_USE
        write_all(file.fd, flags.to_bytes(4, "big"), bitmap.place + _FLAGS_AT)
    return [bitmap.name for bitmap in outdated if not bitmap.flags & IN_USE]


def read_bitmaps(file: ImageFile, header: Header) -> list[Bitmap]:
    """The bitmaps of the image that are not known to be outdated as a whole. Raises OSError."""
    if header.bitmaps is None or not header.autoclear & BITMAPS_VALID:
        return []
    count, size, offset = header.bitmaps
    if size > DIRECTORY_LIMIT:
        raise bad_image(f"its bitmaps need a directory of {size} bytes")
    data = os.pread(file.fd, size, offset)
    bitmaps, at = [], 0
    for number in range(count):
        if at + _ENTRY.size > len(data):
            raise bad_image(f"bitmap {number} of {count} lies beyond their directory")
        table, entries, flags, _, granularity, length, more = _ENTRY.unpack_from(data, at)
        if entries * 8 > TABLE_LIMIT:
            raise bad_image(f"bitmap {number} has {entries} clusters")
        if granularity > 63:
            raise bad_image(f"a bit of bitmap {number} stands for 2**{granularity} bytes")
        name = data[at + _ENTRY.size + more :][:length].decode("utf-8", "replace")
        bitmaps.append(Bitmap(name, table, entries, flags, 1 << granularity, offset + at))
        at += _ENTRY.size + more + length
        at += -at % 8
    return bitmaps
