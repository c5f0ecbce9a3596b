"""Reference counts: how often each cluster of the file is used.

A table names blocks, which hold the counts. A cluster is named by number: its offset divided by
the size of a cluster.
"""

from __future__ import annotations

import errno
import os
from array import array
from collections.abc import Iterator, Mapping, Sequence

from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.qcow2.header import REFERENCE_TABLE_AT, REFERENCE_TABLE_LIMIT, Header
from bimetal.backends.block.qcow2.pointers import Pointers
from bimetal.backends.block.qcow2.widths import new_counts, pack, unpack
from bimetal.backends.block.qcow2.words import bad_image, read_words, words_to_bytes, write_all

__all__ = ["Counts"]


class Counts:
    """The counts of the image in ``file``, which is open for writing; those that were read stay
    in memory. ``outgrown`` lists the clusters of a table that a longer one has replaced, which are
    free after the next flush. Every method may raise OSError; the counts in memory are then those
    from before."""

    def __init__(self, file: ImageFile, header: Header, pointers: Pointers):
        self._file, self._header, self._pointers = file, header, pointers
        self._cluster = header.cluster
        self._bits = header.reference_bits
        self.per_block = header.cluster * 8 // self._bits
        count = header.reference_clusters * header.cluster // 8
        self._table = read_words(file.fd, header.reference_offset, count)
        self._blocks: dict[int, array[int]] = {}
        self._doubtful: set[int] = set()  # blocks in the file that may differ from those here
        self.outgrown: list[int] = []

    def places(self) -> Iterator[tuple[int, int]]:
        """Number of every block that there is, and what the table holds for it: its offset."""
        return ((number, entry) for number, entry in enumerate(self._table) if entry)

    def block(self, number: int) -> array[int] | None:
        """The counts of a block; None if there is none, which means that all are zero."""
        block = self._blocks.get(number)
        if block is None and number < len(self._table) and self._table[number]:
            offset = self._table[number]
            if offset % self._cluster or offset >= 1 << 63:
                raise bad_image(f"reference block {number} lies at {offset:#x}")
            data = os.pread(self._file.fd, self._cluster, offset)
            if len(data) < self._cluster:
                raise bad_image(f"reference block {number} lies beyond the end of the file")
            block = self._blocks[number] = unpack(data, self._bits)
        return block

    def count(self, cluster: int) -> int:
        """How often ``cluster`` is used."""
        number, at = divmod(cluster, self.per_block)
        block = self.block(number)
        return 0 if block is None else block[at]

    def used(self, stop: int) -> int:
        """How many clusters below ``stop`` are used."""
        total = 0
        for number, _ in self.places():
            block, first = self.block(number), number * self.per_block
            if block is not None and first < stop:
                part = block[: stop - first]
                total += len(part) - part.count(0)
        return total

    def set(self, clusters: range, count: int, *, safely: bool = False) -> None:
        """Store ``count`` for ``clusters``, all of which are in existing refcount blocks; if
        ``safely``, so that it outlives a crash of the host."""
        start = clusters.start
        while start < clusters.stop:
            number, at = divmod(start, self.per_block)
            length = min(clusters.stop - start, self.per_block - at)
            self._store(number, at, [count] * length, safely=safely)
            start += length

    def set_block(self, number: int, counts: Sequence[int]) -> None:
        """Store the counts of a whole block, which exists."""
        self._store(number, 0, counts)

    def replace(self, used: Mapping[int, array[int]]) -> int:
        """Make the counts those of ``used``, which has all blocks in which anything is used; how
        many counts differed."""
        differed = 0
        for number in sorted(used.keys() | {number for number, _ in self.places()}):
            new = used.get(number) or new_counts(self._bits, self.per_block)
            old = self.block(number)
            if old is None:
                differed += self.per_block - new.count(0)
                self._add(number, new)
            elif old != new:
                differed += sum(map(int.__ne__, old, new))
                self._store(number, 0, new)
        return differed

    def mend(self) -> None:
        """Store once more what could not be stored."""
        for number in list(self._doubtful):
            write_all(self._file.fd, pack(self._blocks[number], self._bits), self._table[number])
            self._doubtful.discard(number)

    def free_run(self, start: int, most: int) -> range:
        """The first clusters from ``start`` on that nobody uses, as many as lie in a row in one
        block, at most ``most``. A block is made if there is none."""
        number, at = divmod(start, self.per_block)
        while True:
            block = self.block(number)
            if block is None:
                block = self._add(number, new_counts(self._bits, self.per_block))
            try:
                first = block.index(0, at)
            except ValueError:
                number, at = number + 1, 0
                continue
            last = first
            while last < len(block) and last - first < most and block[last] == 0:
                last += 1
            base = number * self.per_block
            return range(base + first, base + last)

    def used_below(self, stop: int) -> int:
        """The number behind the last cluster below ``stop`` that is used."""
        stop = min(stop, len(self._table) * self.per_block)
        while stop:
            number = (stop - 1) // self.per_block
            first = number * self.per_block
            block = self.block(number)
            if block is not None:
                # Bytes are searched faster than numbers are.
                used = block[: stop - first].tobytes().rstrip(b"\0")
                if used:
                    return first - -len(used) // block.itemsize
            stop = first
        return 0

    def _store(self, number: int, at: int, counts: Sequence[int], *, safely: bool = False) -> None:
        """Change a part of a block, which is written in whole bytes."""
        block = self._blocks[number]
        stop = at + len(counts)
        per_byte = max(1, 8 // self._bits)
        first, last = at - at % per_byte, stop + -stop % per_byte
        piece = block[first:last]
        piece[at - first : stop - first] = array(block.typecode, counts)
        place, data = self._table[number] + first * self._bits // 8, pack(piece, self._bits)
        try:
            write_all(self._file.fd, data, place)
            if safely:
                self._file.make_safe(place, data)
        except OSError:
            self._doubtful.add(number)
            raise
        block[first:last] = piece

    def _add(self, number: int, block: array[int]) -> array[int]:
        """Give ``block`` a place among the clusters that it counts, and a longer table too if
        that is too short for one more."""
        if number < len(self._table):
            place = _room(block, 1)
            block[place] = 1
            offset = (number * self.per_block + place) * self._cluster
            self._write_new(pack(block, self._bits), offset)
            self._name(self._header.reference_offset + 8 * number, [offset], [0])
            self._table[number] = offset
        else:
            self._add_with_longer_table(number, block)
        self._blocks[number] = block
        return block

    def _add_with_longer_table(self, number: int, block: array[int]) -> None:
        header = self._header
        clusters = max(2 * header.reference_clusters, -(-8 * (number + 1) // self._cluster))
        if clusters * self._cluster > REFERENCE_TABLE_LIMIT:
            raise OSError(errno.EFBIG, "the image cannot grow any more")
        place = _room(block, clusters + 1)
        block[place : place + clusters + 1] = array(block.typecode, [1]) * (clusters + 1)
        first = (number * self.per_block + place) * self._cluster
        table = self._table[:]
        table.extend([0] * (clusters * self._cluster // 8 - len(table)))
        table[number] = first
        offset = first + self._cluster
        self._write_new(words_to_bytes(table), offset)
        self._write_new(pack(block, self._bits), first)
        # The header has the number of clusters in 32 bits, and that of snapshots behind it.
        old = [header.reference_offset, header.reference_clusters << 32 | header.snapshots]
        self._name(REFERENCE_TABLE_AT, [offset, clusters << 32 | header.snapshots], old)
        outgrown = header.reference_offset // self._cluster
        self.outgrown += range(outgrown, outgrown + header.reference_clusters)
        self._table = table
        header.reference_offset, header.reference_clusters = offset, clusters

    def _write_new(self, data: bytes, offset: int) -> None:
        """Store a block or table that nothing names yet, safely."""
        write_all(self._file.fd, data, offset)
        self._file.make_safe(offset, data)

    def _name(self, place: int, new: Sequence[int], old: Sequence[int]) -> None:
        """Make a new block or table a part of the image, safely."""
        words = array("Q", new)
        self._pointers.write(place, words, array("Q", old))
        self._file.make_safe(place, words_to_bytes(words))


def _room(block: array[int], clusters: int) -> int:
    """Where in ``block`` that many clusters in a row are free."""
    free = 0
    for at, count in enumerate(block):
        free = 0 if count else free + 1
        if free == clusters:
            return at + 1 - clusters
    raise OSError(errno.EFBIG, "the image cannot grow any more")
