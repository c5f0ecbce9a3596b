"""The two levels of tables that say where in the file each cluster of the disk is."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Sequence

from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.qcow2.header import Header
from bimetal.backends.block.qcow2.references import References
from bimetal.backends.block.qcow2.words import bad_image, read_words, words_to_bytes, write_all

__all__ = ["COMPRESSED", "COPIED", "OFFSET", "ZERO", "Tables"]

COPIED = 1 << 63
"""Nobody else uses the cluster or table: it may be written in place."""

COMPRESSED = 1 << 62
ZERO = 1
OFFSET = 0x00FF_FFFF_FFFF_FE00

CACHED = 64
"""L2 tables kept in memory: with usual clusters, for 32 GiB of disk."""


class Tables:
    """L1 and L2 of one image; ``references`` is None if it is only read. A *guest cluster* is a
    number in the disk, an *entry* what L2 holds for it. Every method may raise OSError."""

    def __init__(self, file: ImageFile, header: Header, references: References | None):
        self._file, self._references = file, references
        self._cluster = header.cluster
        self._per_table = header.cluster // 8
        self._l1_offset = header.l1_offset
        self._l1 = read_words(file.fd, header.l1_offset, header.l1_entries)
        self._cache: OrderedDict[int, array[int]] = OrderedDict()

    def entries(self, first: int, count: int) -> Sequence[int]:
        """The entries of at most ``count`` guest clusters from ``first`` on, at least one."""
        index, at = divmod(first, self._per_table)
        table = self._table(index)
        count = min(count, self._per_table - at)
        return [0] * count if table is None else table[at : at + count]

    def store(self, first: int, entries: Sequence[int]) -> None:
        """Set the entries of the guest clusters from ``first`` on."""
        while entries:
            index, at = divmod(first, self._per_table)
            count = min(len(entries), self._per_table - at)
            table = self._own_table(index)
            part = array("Q", entries[:count])
            where = (self._l1[index] & OFFSET) + 8 * at
            write_all(self._file.fd, words_to_bytes(part), where)
            table[at : at + count] = part
            first, entries = first + count, entries[count:]

    def _table(self, index: int) -> array[int] | None:
        """The L2 table of that index in L1, or None if there is none."""
        offset = self._l1[index] & OFFSET
        if not offset:
            return None
        table = self._cache.get(index)
        if table is None:
            if offset % self._cluster:
                raise bad_image(f"an L2 table lies at {offset:#x}")
            table = read_words(self._file.fd, offset, self._per_table)
            self._cache[index] = table
            if len(self._cache) > CACHED:
                self._cache.popitem(last=False)
        else:
            self._cache.move_to_end(index)
        return table

    def _own_table(self, index: int) -> array[int]:
        """The L2 table of that index, which nobody else uses: a new one, or a copy, if needed."""
        table = self._table(index)
        if table is not None and self._l1[index] & COPIED:
            return table
        references = self._references
        assert references is not None
        if table is None:
            table = array("Q", bytes(self._cluster))
        else:
            # A snapshot uses it too, and the clusters in it.
            table = array("Q", [entry & ~COPIED for entry in table])
        offset = references.allocate(1)[0] * self._cluster
        write_all(self._file.fd, words_to_bytes(table), offset)
        self._file.flush()  # L1 must not name a table that is not there yet
        entry, old = offset | COPIED, self._l1[index] & OFFSET
        write_all(self._file.fd, entry.to_bytes(8, "big"), self._l1_offset + 8 * index)
        self._l1[index] = entry
        if old:
            references.free_later(old // self._cluster)
        self._cache[index] = table
        return table
