"""Snapshots inside an image: other L1 tables, which share clusters with the active one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from struct import Struct

from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.qcow2.header import L1_LIMIT, Header
from bimetal.backends.block.qcow2.words import bad_image

__all__ = ["Snapshots", "read_snapshots"]

LIMIT = 65536

_ENTRY = Struct(">QIHHIIQII")
"""L1 offset and entries, lengths of identity and name, time in two words, the guest's time, size
of the state of its processors, length of more such data."""


@dataclass
class Snapshots:
    """``length`` is that of their table in bytes, ``tables`` has offset and entries of each L1."""

    length: int
    tables: list[tuple[int, int]]


def read_snapshots(file: ImageFile, header: Header) -> Snapshots:
    """The snapshots of the image. Raises OSError."""
    if header.snapshots > LIMIT:
        raise bad_image(f"it has {header.snapshots} snapshots")
    at, tables = header.snapshots_offset, []
    if at >= 1 << 63:
        raise bad_image(f"its snapshots lie at {at:#x}")
    for number in range(header.snapshots):
        data = os.pread(file.fd, _ENTRY.size, at)
        if len(data) < _ENTRY.size:
            raise bad_image(f"snapshot {number} lies beyond the end of the file")
        offset, entries, identity, name, _, _, _, _, more = _ENTRY.unpack(data)
        if entries * 8 > L1_LIMIT:
            raise bad_image(f"the L1 table of snapshot {number} has {entries} entries")
        tables.append((offset, entries))
        at += _ENTRY.size + more + identity + name
        at += -at % 8
    return Snapshots(at - header.snapshots_offset, tables)
