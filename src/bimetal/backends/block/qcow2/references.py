"""Reference counts: which clusters of the file are in use, and where new ones come from.

Whatever crashes, a cluster that some table names must never be counted as free, or it would be
given away twice. So clusters are counted as used *before* anything can name them, on the disk and
not only in the page cache; and for one flush to serve many, they are taken in batches. The other
way round, a cluster is counted as free only after the table that named it is safe without it. A
crash may leave clusters that are counted and not named: they waste space, nothing else.
"""

from __future__ import annotations

import errno
import os
from array import array
from collections.abc import Iterator, Sequence

from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.holes import Holes
from bimetal.backends.block.qcow2.header import REFERENCE_TABLE_AT, REFERENCE_TABLE_LIMIT, Header
from bimetal.backends.block.qcow2.words import bad_image, read_words, words_to_bytes, write_all

__all__ = ["References"]

BATCH_BYTES = 8 << 20
"""What is taken at once: one flush for so many bytes of new clusters."""

MOST = 0xFFFF
OFFSET = 0x00FF_FFFF_FFFF_FE00


class References:
    """The counts of one image with 16 bits each, opened for writing.

    Clusters are named by number: offset divided by the size of a cluster. Every method may raise
    OSError.
    """

    def __init__(self, file: ImageFile, header: Header):
        self._file, self._header, self._cluster = file, header, header.cluster
        self._holes = Holes(file.fd, block_device=file.block_device)
        self._per_block = header.cluster // 2
        count = header.reference_clusters * header.cluster // 8
        self._table = read_words(file.fd, header.reference_offset, count)
        self._blocks: dict[int, array[int]] = {}
        self._cursor = 1  # below it, nothing is free
        self._batch = range(0)
        self._to_free: list[int] = []

    def allocate(self, count: int) -> range:
        """At least one and at most ``count`` free clusters in a row, now counted as used once."""
        if not self._batch:
            self._batch = self._take(max(1, BATCH_BYTES // self._cluster))
        taken, self._batch = self._batch[:count], self._batch[count:]
        return taken

    def is_shared(self, cluster: int) -> bool:
        """Whether someone else, a snapshot, uses ``cluster`` too."""
        return self._count(cluster) != 1

    def free_later(self, cluster: int) -> None:
        """Count ``cluster`` down once, after the tables that name it no more are safe."""
        self._to_free.append(cluster)

    def flushed(self) -> None:
        """All tables are safe: count down what waited for that, and give freed space back."""
        waiting, self._to_free = self._to_free, []
        freed: list[int] = []
        for cluster in waiting:
            count = self._count(cluster)
            if count == 0:
                self._file.log.host_error("clusters are in use and not counted: check the image")
            elif count != MOST:  # one that ever reached the limit is never freed
                self._set(range(cluster, cluster + 1), count - 1)
                if count == 1:
                    freed.append(cluster)
        for run in _runs(sorted(freed)):
            self._cursor = min(self._cursor, run.start)
            self._holes.punch(run.start * self._cluster, len(run) * self._cluster)

    def close(self) -> None:
        """Give back what was taken and not needed."""
        batch, self._batch = self._batch, range(0)
        if batch:
            self._set(batch, 0)
            if self._length() == batch.stop * self._cluster:
                os.ftruncate(self._file.fd, batch.start * self._cluster)

    def _take(self, count: int) -> range:
        """Count a run of free clusters as used, and make that safe."""
        run = self._find(count)
        self._set(run, 1)
        if self._length() < run.stop * self._cluster:
            # Or a crash could leave a table that names what lies beyond the end of the file.
            os.ftruncate(self._file.fd, run.stop * self._cluster)
        self._file.flush()
        self._cursor = run.stop
        return run

    def _length(self) -> int:
        """The length of the file, or of the block device."""
        return os.lseek(self._file.fd, 0, os.SEEK_END)

    def _find(self, count: int) -> range:
        """The first run of free clusters from the cursor on, at most ``count`` long."""
        number, at = divmod(self._cursor, self._per_block)
        while True:
            block = self._block(number)
            try:
                first = block.index(0, at)
            except ValueError:
                number, at = number + 1, 0
                continue
            last = first
            while last < len(block) and last - first < count and block[last] == 0:
                last += 1
            base = number * self._per_block
            return range(base + first, base + last)

    def _count(self, cluster: int) -> int:
        number, at = divmod(cluster, self._per_block)
        if number >= len(self._table) or not self._table[number] & OFFSET:
            return 0
        return self._block(number)[at]

    def _set(self, run: range, count: int) -> None:
        """Store ``count`` for the clusters of ``run``, which lie in one block."""
        number, at = divmod(run.start, self._per_block)
        block = self._block(number)
        counts = array("H", [count]) * len(run)
        write_all(self._file.fd, words_to_bytes(counts), (self._table[number] & OFFSET) + 2 * at)
        block[at : at + len(run)] = counts

    def _block(self, number: int) -> array[int]:
        """The block of that number; a new one if there is none yet."""
        block = self._blocks.get(number)
        if block is None:
            offset = self._table[number] & OFFSET if number < len(self._table) else 0
            if offset % self._cluster:
                raise bad_image(f"reference block {number} lies at {offset:#x}")
            block = (
                read_words(self._file.fd, offset, self._per_block, "H")
                if offset
                else self._new_block(number)
            )
            self._blocks[number] = block
        return block

    def _new_block(self, number: int) -> array[int]:
        """A block for clusters that none counted so far: the first of them holds it.

        If the table is too short, the next clusters hold a longer one.
        """
        block = array("H", bytes(2 * self._per_block))
        block[0] = 1
        if number < len(self._table):
            self._table_entry(number, block)
        else:
            self._longer_table(number, block)
        return block

    def _table_entry(self, number: int, block: array[int]) -> None:
        offset = number * self._per_block * self._cluster
        write_all(self._file.fd, words_to_bytes(block), offset)
        self._file.flush()
        write_all(
            self._file.fd, offset.to_bytes(8, "big"), self._header.reference_offset + 8 * number
        )
        self._file.flush()
        self._table[number] = offset

    def _longer_table(self, number: int, block: array[int]) -> None:
        header = self._header
        clusters = max(2 * header.reference_clusters, -(-8 * (number + 1) // self._cluster))
        if clusters * self._cluster > REFERENCE_TABLE_LIMIT or clusters >= self._per_block:
            raise OSError(errno.EFBIG, "the image cannot grow any more")
        first = number * self._per_block
        table = self._table[:]
        table.extend([0] * (clusters * self._cluster // 8 - len(table)))
        table[number] = first * self._cluster
        block[1 : 1 + clusters] = array("H", [1]) * clusters
        offset = (first + 1) * self._cluster
        write_all(self._file.fd, words_to_bytes(block), first * self._cluster)
        write_all(self._file.fd, words_to_bytes(table), offset)
        self._file.flush()
        place = offset.to_bytes(8, "big") + clusters.to_bytes(4, "big")
        write_all(self._file.fd, place, REFERENCE_TABLE_AT)
        self._file.flush()
        old = header.reference_offset // self._cluster
        for cluster in range(old, old + header.reference_clusters):
            self.free_later(cluster)
        self._table = table
        header.reference_offset, header.reference_clusters = offset, clusters


def _runs(numbers: Sequence[int]) -> Iterator[range]:
    """Ascending ``numbers`` as ranges without gaps."""
    start = 0
    for end in range(1, len(numbers) + 1):
        if end == len(numbers) or numbers[end] != numbers[end - 1] + 1:
            yield range(numbers[start], numbers[end - 1] + 1)
            start = end
