"""VDI, the format of VirtualBox: a table of blocks, little-endian.

Source: VirtualBox, include/VBox/vd-ifs.h and the comments in Storage/VDICore.h, of which QEMU's
block/vdi.c has a summary.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from struct import Struct

from bimetal.backends.block.block import SECTOR
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.foreign.fields import Table, damaged, unsupported
from bimetal.backends.block.foreign.mapped import MappedImage, Source
from bimetal.backends.block.formats import VDI
from bimetal.base.bits import align_up

__all__ = ["VdiImage"]

_HEADER = Struct("<64s5I256s7IQ4I16s16s16s16s")
"""Text; signature, version, size of the header, type, flags; description; places of the table and
of the data, cylinders, heads, sectors, bytes in a sector, unused; bytes of the disk; bytes in a
block, bytes before each block, blocks, blocks with a place; identities: own, of the last snapshot,
of the parent, of the parent's last snapshot."""

SIGNATURE, VERSION = 0xBEDA107F, 0x10001
DYNAMIC, FIXED = 1, 2
KINDS = {3: "is an undo image", 4: "is the difference to another one"}

NONE, ZERO = 0xFFFFFFFF, 0xFFFFFFFE
"""Entries of blocks that have no place: never written, discarded."""

_ENTRY = Struct("<I")


class VdiImage(MappedImage):
    """The VDI image in ``file``. Raises `BimetalError` for one that cannot be read."""

    def __init__(self, file: ImageFile):
        head = os.pread(file.fd, _HEADER.size, 0)
        if len(head) < _HEADER.size:
            raise damaged(file, "its header is cut off")
        fields = _HEADER.unpack(head)
        signature, version, _, kind = fields[1:5]
        table_at, self._data_at = fields[7:9]
        size, self._block, extra, blocks = fields[14:18]
        if signature != SIGNATURE:
            raise damaged(file, "it does not begin like VDI")
        if version != VERSION:
            raise unsupported(file, VDI, f"has version {version >> 16}.{version & 0xFFFF} of VDI")
        if kind in KINDS or (kind in (DYNAMIC, FIXED) and (any(fields[21]) or any(fields[22]))):
            merge = "make one image of it and its parents: VBoxManage clonemedium disk OLD NEW"
            raise unsupported(file, VDI, KINDS.get(kind, KINDS[4]), merge)
        if kind not in (DYNAMIC, FIXED):
            raise damaged(file, f"it is of the unknown type {kind}")
        if not self._block or self._block % SECTOR or extra:
            raise damaged(file, f"its blocks have {self._block} and {extra} bytes")
        super().__init__(file, align_up(size, SECTOR))
        if blocks * self._block < self.size:
            raise damaged(file, f"{blocks} blocks of {self._block} bytes are no {size} bytes")
        self._table = Table(file, "table of blocks", table_at, blocks, _ENTRY)

    def runs(self, offset: int, length: int) -> Iterator[tuple[Source, int]]:
        """See `MappedImage.runs`."""
        end = offset + length
        while offset < end:
            block, inside = divmod(offset, self._block)
            count = min(self._block - inside, end - offset)
            entry = self._table[block]
            if entry in (NONE, ZERO):
                yield None, count
            else:
                yield (self.file, self._data_at + entry * self._block + inside), count
            offset += count
