"""Where a VHDX image keeps what ([MS-VHDX], 2.2): headers and region tables, each of them twice."""

from __future__ import annotations

from collections.abc import Set
from struct import Struct
from uuid import UUID

import msgspec

from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.foreign.crc32c import crc32c
from bimetal.backends.block.foreign.fields import damaged, read_exactly, unsupported
from bimetal.backends.block.formats import VHDX

__all__ = ["Log", "Region", "current_log", "read_regions"]

KIB, MIB = 1 << 10, 1 << 20

HEADERS, HEADER_SIZE = (64 * KIB, 128 * KIB), 4 * KIB
TABLES, TABLE_SIZE = (192 * KIB, 256 * KIB), 64 * KIB
"""Where they lie, and their bytes (2.2)."""

_HEADER = Struct("<4sIQ16s16s16sHHIQ")
"""Signature, checksum, sequence number, identities of the file, of its data and of the log,
versions of the log and the format, length and place of the log (2.2.2)."""

_REGIONS = Struct("<4sII4x")
_REGION = Struct("<16sQII")
"""Head of a region table: signature, checksum, entries. Entry: region, offset, length, required
(2.2.3)."""

REGIONS_LIMIT = 2047
CHECKSUM = slice(4, 8)


class Log(msgspec.Struct, frozen=True):
    """The log whose entries bear ``identity``, all zeroes if there are none."""

    identity: bytes
    offset: int
    length: int


class Region(msgspec.Struct, frozen=True):
    """A part of the file."""

    offset: int
    length: int


def current_log(file: ImageFile) -> Log:
    """The log by the valid header that was written last."""
    newest: tuple[int, Log] | None = None
    for place in HEADERS:
        header = _read(file, place, HEADER_SIZE, b"head")
        if header is None:
            continue
        fields = _HEADER.unpack_from(header)
        sequence, identity, log_version, version, length, offset = fields[2], *fields[5:]
        if version != 1 or log_version != 0:
            raise unsupported(file, VHDX, f"has version {version}.{log_version} of VHDX")
        if newest is None or sequence > newest[0]:
            newest = sequence, Log(identity, offset, length)
    if newest is None:
        raise damaged(file, "both of its headers are spoilt")
    return newest[1]


def read_regions(file: ImageFile, wanted: Set[UUID]) -> dict[UUID, Region]:
    """Where the regions ``wanted`` are."""
    tables = (_read(file, place, TABLE_SIZE, b"regi") for place in TABLES)
    table = next((table for table in tables if table is not None), None)
    if table is None:
        raise damaged(file, "both of its region tables are spoilt")
    count = _REGIONS.unpack_from(table)[2]
    if count > REGIONS_LIMIT:
        raise damaged(file, f"it has {count} regions")
    regions = {}
    for number in range(count):
        at = _REGIONS.size + number * _REGION.size
        name, offset, length, required = _REGION.unpack_from(table, at)
        region = UUID(bytes_le=name)
        if region in wanted:
            if offset < MIB or offset % MIB or offset + length > file.length:
                raise damaged(file, "a region is not inside the file")
            regions[region] = Region(offset, length)
        elif required & 1:
            raise unsupported(file, VHDX, f"has a region {region} that must be understood")
    if regions.keys() != wanted:
        raise damaged(file, "it has no table of blocks, or no metadata")
    return regions


def _read(file: ImageFile, place: int, length: int, signature: bytes) -> bytes | None:
    """The structure at ``place``, None if it is spoilt."""
    if place + length > file.length:
        return None
    data = bytearray(read_exactly(file.fd, place, length))
    told = int.from_bytes(data[CHECKSUM], "little")
    data[CHECKSUM] = bytes(4)
    valid = data.startswith(signature) and crc32c(bytes(data)) == told
    return bytes(data) if valid else None
