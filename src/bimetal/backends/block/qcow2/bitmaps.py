"""Dirty bitmaps as an image keeps them: what has changed since a backup. Those that do not tell of
our changes are marked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from struct import Struct

import msgspec

from bimetal.backends.block.bitmaps import GRANULARITIES, NAME_LIMIT
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.qcow2.entries import OFFSET
from bimetal.backends.block.qcow2.header import BITMAPS_VALID, Header
from bimetal.backends.block.qcow2.words import bad_image, read_words, write_all

__all__ = [
    "ALL_MARKED",
    "AUTO",
    "IN_USE",
    "Bitmap",
    "clusters_of_bitmaps",
    "directory_entry",
    "mark_in_use",
    "read_bitmaps",
    "read_bits",
]

IN_USE, AUTO = 1, 2
"""Flags: the bitmap was not stored when it was last in use, and is not to be believed; it tells of
every change of the disk."""

ALL_MARKED = 1
"""The entry of a table for a cluster of which all bits are set, and which has no place; 0 is one of
which none is."""

_FLAGS_AT = 12
"""Where in an entry of the directory the flags are."""

DIRECTORY_LIMIT = 64 << 20
TABLE_LIMIT = 8 << 20

_ENTRY = Struct(">QIIBBHI")
"""Offset and entries of its table, flags, type, granularity, lengths of name and more data."""

_DIRTY_TRACKING = 1
"""The type of a bitmap."""


class Bitmap(msgspec.Struct):
    """``table`` is the offset of its table, which has ``entries`` offsets of its clusters;
    ``place`` is that of its ``entry`` in the directory. A bit stands for ``granularity`` bytes.
    If it is not ``plain``, there is something about it that only newer programs know, or nobody."""

    name: str
    table: int
    entries: int
    flags: int
    granularity: int
    place: int
    entry: bytes = b""
    plain: bool = True

    @property
    def outdated(self) -> bytes:
        """Its entry once it has missed a change of the disk: marked, unless it was to miss it."""
        if not self.flags & AUTO:
            return self.entry
        flags = (self.flags | IN_USE).to_bytes(4, "big")
        return self.entry[:_FLAGS_AT] + flags + self.entry[_FLAGS_AT + len(flags) :]


def directory_entry(name: str, table: int, entries: int, flags: int, granularity: int) -> bytes:
    """An entry of the directory: see `Bitmap`."""
    called, power = name.encode(), granularity.bit_length() - 1
    fields = _ENTRY.pack(table, entries, flags, _DIRTY_TRACKING, power, len(called), 0)
    return fields + called + bytes(-(len(fields) + len(called)) % 8)


def read_bits(file: ImageFile, header: Header, bitmap: Bitmap) -> bytearray | None:
    """The bits of a bitmap, from the low one of the first byte on; None if it is not of a disk of
    this size. Raises OSError."""
    length = -(-_granules(header, bitmap) // 8)
    if bitmap.entries != -(-length // header.cluster):
        return None
    bits = bytearray()
    for entry in read_words(file.fd, bitmap.table, bitmap.entries):
        if entry & OFFSET:
            part = os.pread(file.fd, header.cluster, entry & OFFSET)
            bits += part.ljust(header.cluster, b"\0")
        else:
            bits += (b"\xff" if entry & ALL_MARKED else b"\0") * header.cluster
    del bits[length:]
    beyond = length * 8 - _granules(header, bitmap)
    bits[-1] &= 0xFF >> beyond
    return bits


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
        table, entries, flags, kind, granularity, length, more = _ENTRY.unpack_from(data, at)
        if entries * 8 > TABLE_LIMIT:
            raise bad_image(f"bitmap {number} has {entries} clusters")
        if granularity > 63:
            raise bad_image(f"a bit of bitmap {number} stands for 2**{granularity} bytes")
        called = data[at + _ENTRY.size + more :][:length]
        name = called.decode("utf-8", "replace")
        end = at + _ENTRY.size + more + length
        end += -end % 8
        plain = kind == _DIRTY_TRACKING and not more and not flags & ~(IN_USE | AUTO)
        plain = plain and granularity in GRANULARITIES
        plain = plain and name.encode() == called and 0 < length <= NAME_LIMIT
        bitmaps.append(
            Bitmap(name, table, entries, flags, 1 << granularity, offset + at, data[at:end], plain)
        )
        at = end
    return bitmaps


def clusters_of_bitmaps(file: ImageFile, header: Header, kept: Sequence[Bitmap]) -> list[int]:
    """The clusters in which the bitmaps of an image lie, with their directory, but none of those
    that are ``kept``. Raises OSError."""
    found, bits = list[int](), header.cluster_bits
    bitmaps = read_bitmaps(file, header)
    if header.bitmaps is not None and bitmaps:
        _, size, offset = header.bitmaps
        found += range(offset >> bits, (offset + size - 1 >> bits) + 1)
    tables = {each.table for each in kept}
    for bitmap in bitmaps:
        if bitmap.table in tables:
            continue
        end = bitmap.table + bitmap.entries * 8 - 1
        found += range(bitmap.table >> bits, (end >> bits) + 1)
        words = read_words(file.fd, bitmap.table, bitmap.entries)
        found += [(entry & OFFSET) >> bits for entry in words if entry & OFFSET]
    return found


def _granules(header: Header, bitmap: Bitmap) -> int:
    return -(-header.size // bitmap.granularity)
