"""What all tables of an image together say: how often each of its clusters is used.

Reference counts may be wrong: left behind by a crash, written over, made up. Who believes them
gives clusters away that are in use, the header among them. So before an image is written all its
tables are read once, those of its snapshots too, and what they use is counted anew.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from functools import reduce
from operator import or_

from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.qcow2.bitmaps import read_bitmaps
from bimetal.backends.block.qcow2.counts import Counts
from bimetal.backends.block.qcow2.entries import COMPRESSED, COPIED, OFFSET, ZERO, packed_place
from bimetal.backends.block.qcow2.header import DIRTY, SUBCLUSTERS, Header
from bimetal.backends.block.qcow2.snapshots import read_snapshots
from bimetal.backends.block.qcow2.widths import new_counts
from bimetal.backends.block.qcow2.words import DamagedImage, bad_image, is_hole, read_words

__all__ = ["survey"]

COUNTED_TOO_LOW = "something is used more often than it is counted"

SUBCLUSTER_BITS = (1 << SUBCLUSTERS) - 1

MEMORY_LIMIT = 1 << 30
"""Bytes of counts: enough for 32 TiB of usual clusters."""


def survey(file: ImageFile, header: Header, counts: Counts) -> dict[int, array[int]]:
    """How often each cluster is used, an array for each block in which any is.

    Raises `DamagedImage` for tables that contradict each other, or the counts: if a cluster that
    is used is counted as less, unless the header says that the counts are out of date. Counts
    that are too high are no contradiction: a crash leaves such leaks behind.
    """
    return _Survey(file, header, counts).walk()


class _Survey:
    def __init__(self, file: ImageFile, header: Header, counts: Counts):
        self._file, self._header, self._counts = file, header, counts
        self._bits, self._cluster = header.cluster_bits, header.cluster
        self._per_block = counts.per_block
        self._clusters = -(-file.length // header.cluster)
        self._used: dict[int, array[int]] = {}
        self._structures: dict[int, int] = {}
        self._outdated = bool(header.features & DIRTY)
        self._extended = header.entry_words == 2
        self._outside = header.data_file is not None
        self._there = OFFSET | COPIED if self._outside else OFFSET

    def walk(self) -> dict[int, array[int]]:
        header = self._header
        length = header.reference_clusters * self._cluster
        self._structure("header", 0, self._cluster)
        self._structure("reference table", header.reference_offset, length)
        for _, offset in self._counts.places():
            self._structure("reference block", offset, self._cluster)
        active = self._l1(header.l1_offset, header.l1_entries)
        tables = Counter(entry & OFFSET for entry in [*active, *self._snapshots()])
        del tables[0]
        self._bitmaps()
        for offset, times in tables.items():
            self._structure("L2 table", offset, self._cluster, times)
        for offset, times in tables.items():
            self._count_table(offset, times)
        self._check_structures()
        self._check_marks(active)
        self._check_counts()
        return self._used

    # What is used

    def _structure(self, what: str, offset: int, length: int, times: int = 1) -> None:
        """Note a part of the file that holds something other than the guest's data."""
        if offset % self._cluster:
            raise bad_image(f"a {what} lies at {offset:#x}")
        clusters = range(offset >> self._bits, offset + length + self._cluster - 1 >> self._bits)
        self._count(clusters, times)
        for cluster in clusters:
            if cluster in self._structures:
                raise self._contradiction(cluster, "two structures lie")
            self._structures[cluster] = times

    def _l1(self, offset: int, entries: int) -> array[int]:
        self._structure("L1 table", offset, entries * 8)
        table = read_words(self._file.fd, offset, entries)
        if reduce(or_, table, 0) & ~(COPIED | OFFSET):
            raise bad_image(f"the L1 table at {offset:#x} makes no sense")
        return table

    def _snapshots(self) -> array[int]:
        """The entries of the L1 tables of all snapshots."""
        entries = array("Q")
        snapshots = read_snapshots(self._file, self._header)
        if snapshots.tables:
            self._structure("snapshot table", self._header.snapshots_offset, snapshots.length)
        for offset, count in snapshots.tables:
            entries.extend(self._l1(offset, count) if count else ())
        return entries

    def _bitmaps(self) -> None:
        bitmaps = read_bitmaps(self._file, self._header)
        if self._header.bitmaps is not None and bitmaps:
            _, size, offset = self._header.bitmaps
            self._structure("bitmap directory", offset, size)
        for bitmap in bitmaps:
            self._structure("bitmap table", bitmap.table, bitmap.entries * 8)
            for entry in read_words(self._file.fd, bitmap.table, bitmap.entries):
                if entry & OFFSET:
                    self._structure("bitmap", entry & OFFSET, self._cluster)

    def _count_table(self, offset: int, times: int) -> None:
        """Count what the L2 table at ``offset`` uses, which is named by so many L1 entries."""
        plain, packed = self._l2(offset)
        if not self._outside:
            self._count(
                [(entry & OFFSET) >> self._bits for entry in plain if entry & OFFSET], times
            )
        for entry in packed:
            start, length = packed_place(entry, self._bits)
            last = start + length - 1 >> self._bits
            self._count(range(start >> self._bits, last + 1), times)

    def _l2(self, offset: int) -> tuple[Sequence[int], Sequence[int]]:
        """The entries of the L2 table at ``offset``: those of plain and of compressed clusters."""
        if is_hole(self._file.fd, offset, self._cluster):
            return (), ()
        plain: Sequence[int] = self._words(offset)
        packed: Sequence[int] = ()
        if reduce(or_, plain) & COMPRESSED:
            packed = [entry for entry in plain if entry & COMPRESSED]
            plain = [entry for entry in plain if not entry & COMPRESSED]
        zero = 0 if self._extended else ZERO
        senseless = ~(COPIED | OFFSET | zero) | OFFSET & self._cluster - 1
        if reduce(or_, plain, 0) & senseless:
            raise bad_image(f"the L2 table at {offset:#x} makes no sense")
        return plain, packed

    def _words(self, offset: int) -> Sequence[int]:
        """The first words of the entries of the L2 table at ``offset``."""
        words = read_words(self._file.fd, offset, self._cluster // 8)
        if not self._extended:
            return words
        for word, bits in zip(words[::2], words[1::2], strict=True):
            if bits & bits >> SUBCLUSTERS & SUBCLUSTER_BITS and not word & COMPRESSED:
                raise bad_image(f"the L2 table at {offset:#x} calls what is there zero")
            if bits & SUBCLUSTER_BITS and not word & (self._there | COMPRESSED):
                raise bad_image(f"the L2 table at {offset:#x} has parts of no cluster")
        return words[::2]

    def _count(self, clusters: Sequence[int], times: int) -> None:
        """Note that ``clusters`` are used so many times more."""
        if not clusters:
            return
        last = clusters[-1] if isinstance(clusters, range) else max(clusters)
        if last >= self._clusters:
            raise bad_image(f"it uses {last << self._bits:#x}, which is behind its end")
        low = high = 0
        try:
            for cluster in clusters:
                if not low <= cluster < high:
                    number = cluster // self._per_block
                    low, high = number * self._per_block, (number + 1) * self._per_block
                    block = self._block(number)
                block[cluster - low] += times
        except OverflowError:
            raise self._contradiction(cluster, COUNTED_TOO_LOW) from None

    def _block(self, number: int) -> array[int]:
        """The reference counts found for a block of clusters."""
        block = self._used.get(number)
        if block is None:
            if self._counts.block(number) is None and not self._outdated:
                first = number * self._per_block << self._bits
                raise bad_image(f"it uses clusters from {first:#x} on and counts none")
            block = new_counts(self._header.reference_bits, self._per_block)
            self._used[number] = block
            if len(self._used) * len(block) * block.itemsize > MEMORY_LIMIT:
                raise bad_image("it uses too many clusters to count them")
        return block

    # What contradicts what

    def _check_structures(self) -> None:
        """Check that no cluster of the guest lies where tables are."""
        for cluster, times in self._structures.items():
            if self._uses(cluster) != times:
                raise self._contradiction(cluster, "a structure and a cluster of the disk lie")

    def _check_marks(self, active: Sequence[int]) -> None:
        """Check that what is marked as used once is used once."""
        if all(max(block) <= 1 for block in self._used.values()):
            return
        self._check_copied(active)
        for entry in active:
            if entry & OFFSET and not self._outside:
                self._check_copied(self._l2(entry & OFFSET)[0])

    def _check_copied(self, entries: Sequence[int]) -> None:
        for entry in entries:
            cluster = (entry & OFFSET) >> self._bits
            if entry & COPIED and cluster and self._uses(cluster) != 1:
                raise self._contradiction(cluster, "two tables use what one calls its own")

    def _check_counts(self) -> None:
        """Check that no cluster is counted less often than it is used."""
        most = (1 << self._header.reference_bits) - 1
        for number, used in self._used.items():
            counts = self._counts.block(number)
            if self._outdated:
                counts = array(used.typecode, [most]) * len(used)
            if counts is None or counts == used:
                continue
            for at, (count, uses) in enumerate(zip(counts, used, strict=True)):
                if count < uses:
                    raise self._contradiction(number * self._per_block + at, COUNTED_TOO_LOW)

    def _uses(self, cluster: int) -> int:
        number, at = divmod(cluster, self._per_block)
        return self._used[number][at]

    def _contradiction(self, cluster: int, what: str) -> DamagedImage:
        return bad_image(f"{what} at {cluster << self._bits:#x}")
