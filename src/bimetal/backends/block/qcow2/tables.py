"""The two levels of tables that say where in the file each cluster of the disk is."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Sequence

from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.qcow2.entries import COPIED, OFFSET, WORD
from bimetal.backends.block.qcow2.header import Header
from bimetal.backends.block.qcow2.pointers import Pointers
from bimetal.backends.block.qcow2.references import References
from bimetal.backends.block.qcow2.words import bad_image, read_words, words_to_bytes, write_all

__all__ = ["Tables"]

CACHED_BYTES = 16 << 20
"""L2 tables kept in memory: with usual clusters, for 128 GiB of disk."""


class Tables:
    """L1 and L2 of one image, or those L2 tables that lie at ``offsets``. A *guest cluster* is a
    number in the disk, an *entry* what L2 holds for it. Every method may raise OSError."""

    def __init__(
        self,
        file: ImageFile,
        header: Header,
        pointers: Pointers,
        offsets: Sequence[int] | None = None,
    ):
        self._file, self._pointers = file, pointers
        self._cluster = header.cluster
        self._words, self._per_table = header.entry_words, header.per_table
        self._l1_offset = header.l1_offset
        self._l1 = (
            read_words(file.fd, header.l1_offset, header.l1_entries)
            if offsets is None
            else array("Q", offsets)
        )
        self._cache: OrderedDict[int, array[int]] = OrderedDict()
        self._cached = max(4, CACHED_BYTES // header.cluster)
        self._held = 0  # changes that only the cache has: nothing may leave it

    def entries(self, first: int, count: int) -> Sequence[int]:
        """The entries of at most ``count`` guest clusters from ``first`` on, at least one: those
        that are in one table."""
        index, at = divmod(first, self._per_table)
        table = self._table(index)
        count = min(count, self._per_table - at)
        if table is None:
            return [0] * count
        return self._entries_of(table[at * self._words : (at + count) * self._words])

    def has(self, first: int, last: int) -> bool:
        """Whether the entries of the guest clusters from ``first`` to ``last`` are in memory."""
        for index in range(first // self._per_table, last // self._per_table + 1):
            if self._l1[index] & OFFSET and index not in self._cache:
                return False
        return True

    def offsets(self) -> list[int]:
        """Where each L2 table of the disk lies, 0 where there is none."""
        return [entry & OFFSET for entry in self._l1]

    def store(self, first: int, entries: Sequence[int], references: References) -> None:
        """Set the entries of the guest clusters from ``first`` on, which are in one table. If
        that fails, all is as it was."""
        old = self.hold(first, entries, references)
        try:
            self.write(first, old)
        except OSError:
            self.drop(first, old)
            raise

    def hold(self, first: int, entries: Sequence[int], references: References) -> array[int]:
        """`store` in memory only: the file still has the old entries, which are returned as words,
        and with which `write` or `drop` is to be called."""
        index, at = divmod(first, self._per_table)
        table, new = self._own_table(index, references), self._words_of(entries)
        at *= self._words
        old = table[at : at + len(new)]
        table[at : at + len(new)] = new
        self._held += 1
        return old

    def write(self, first: int, old: array[int]) -> None:
        """Store what is held of the entries from ``first`` on, where ``old`` stand."""
        index, at = divmod(first, self._per_table)
        at *= self._words
        place = (self._l1[index] & OFFSET) + 8 * at
        self._pointers.write(place, self._cache[index][at : at + len(old)], old)
        self._held -= 1

    def drop(self, first: int, old: array[int]) -> None:
        """Forget what is held: the entries from ``first`` on are ``old`` again."""
        index, at = divmod(first, self._per_table)
        at *= self._words
        self._cache[index][at : at + len(old)] = old
        self._held -= 1

    def _entries_of(self, words: array[int]) -> Sequence[int]:
        if self._words == 1:
            return words
        return [word | bits << 64 for word, bits in zip(words[::2], words[1::2], strict=True)]

    def _words_of(self, entries: Sequence[int]) -> array[int]:
        if self._words == 1:
            return array("Q", entries)
        return array("Q", [word for entry in entries for word in (entry & WORD, entry >> 64)])

    def _table(self, index: int) -> array[int] | None:
        """The L2 table of that index in L1, or None if there is none."""
        offset = self._l1[index] & OFFSET
        if not offset:
            return None
        table = self._cache.get(index)
        if table is None:
            if offset % self._cluster:
                raise bad_image(f"an L2 table lies at {offset:#x}")
            table = self._pointers.read(offset, self._cluster // 8)
            self._keep(index, table)
        else:
            self._cache.move_to_end(index)
        return table

    def _own_table(self, index: int, references: References) -> array[int]:
        """The L2 table of that index, which nobody else uses: a new one, or a copy, if needed."""
        table, old = self._table(index), self._l1[index]
        if table is not None and old & COPIED:
            return table
        clusters, fresh = references.allocate(1)
        offset = clusters.start * self._cluster
        try:
            if table is not None:
                # A snapshot uses it too, and the clusters in it.
                table = table[:]
                for at in range(0, len(table), self._words):
                    table[at] &= ~COPIED
                self._write_new(table, offset)
            else:
                table = array("Q", bytes(self._cluster))
                if not fresh:  # or it is zero already, whatever crashes
                    self._write_new(table, offset)
            place = self._l1_offset + 8 * index
            self._pointers.write(place, array("Q", [offset | COPIED]), self._l1[index : index + 1])
        except OSError:
            references.free_later(clusters)
            raise
        self._l1[index] = offset | COPIED
        if old & OFFSET:
            references.free_later([(old & OFFSET) // self._cluster])
        self._keep(index, table)
        return table

    def _write_new(self, table: array[int], offset: int) -> None:
        """Store a table, safely: L1 must not name one that is not there yet."""
        data = words_to_bytes(table)
        write_all(self._file.fd, data, offset)
        self._file.make_safe(offset, data)

    def _keep(self, index: int, table: array[int]) -> None:
        self._cache[index] = table
        self._cache.move_to_end(index)
        while len(self._cache) > self._cached and not self._held:
            self._cache.popitem(last=False)
