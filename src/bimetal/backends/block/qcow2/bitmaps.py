"""Dirty bitmaps: what has changed since a backup. Others keep them; we only know where they are."""

from __future__ import annotations

import os
from dataclasses import dataclass
from struct import Struct

from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.qcow2.header import Header
from bimetal.backends.block.qcow2.words import bad_image

__all__ = ["VALID", "Bitmap", "read_bitmaps"]

VALID = 1
"""The autoclear feature that says that all bitmaps are as the disk is."""

DIRECTORY_LIMIT = 64 << 20
TABLE_LIMIT = 8 << 20

_ENTRY = Struct(">QIIBBHI")
"""Offset and entries of its table, flags, type, granularity, lengths of name and more data."""


@dataclass
class Bitmap:
    """``table`` is the offset of its table, which has ``entries`` offsets of its clusters."""

    name: str
    table: int
    entries: int


def read_bitmaps(file: ImageFile, header: Header) -> list[Bitmap]:
    """The bitmaps of the image. Raises OSError."""
    if header.bitmaps is None:
        return []
    count, size, offset = header.bitmaps
    if size > DIRECTORY_LIMIT:
        raise bad_image(f"its bitmaps need a directory of {size} bytes")
    data = os.pread(file.fd, size, offset)
    bitmaps, at = [], 0
    for number in range(count):
        if at + _ENTRY.size > len(data):
            raise bad_image(f"bitmap {number} of {count} lies beyond their directory")
        table, entries, _, _, _, length, more = _ENTRY.unpack_from(data, at)
        if entries * 8 > TABLE_LIMIT:
            raise bad_image(f"bitmap {number} has {entries} clusters")
        name = data[at + _ENTRY.size + more :][:length]
        bitmaps.append(Bitmap(name.decode("utf-8", "replace"), table, entries))
        at += _ENTRY.size + more + length
        at += -at % 8
    return bitmaps
