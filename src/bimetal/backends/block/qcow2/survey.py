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
from bimetal.backends.block.qcow2.entries import COMPRESSED, COPIED, OFFSET
from bimetal.backends.block.qcow2.header import DIRTY, Header
from bimetal.backends.block.qcow2.snapshots import read_snapshots
from bimetal.backends.block.qcow2.usage import COUNTED_TOO_LOW, Usage
from bimetal.backends.block.qcow2.words import bad_image, read_words

__all__ = ["read_l1", "survey", "use_bitmaps"]


def survey(file: ImageFile, header: Header, counts: Counts) -> dict[int, array[int]]:
    """How often each cluster is used, an array for each block in which any is.

    Raises `DamagedImage` for tables that contradict each other, or the counts: if a cluster that
    is used is counted as less, unless the header says that the counts are out of date. Counts
    that are too high are no contradiction: a crash leaves such leaks behind.
    """
    return _Survey(file, header, counts).walk()


def read_l1(file: ImageFile, offset: int, entries: int) -> array[int]:
    """The L1 table at ``offset``. Raises OSError."""
    table = read_words(file.fd, offset, entries)
    if reduce(or_, table, 0) & ~(COPIED | OFFSET):
        raise bad_image(f"the L1 table at {offset:#x} makes no sense")
    return table


def use_bitmaps(file: ImageFile, header: Header, usage: Usage) -> None:
    """Note where the bitmaps of the image lie. Raises OSError."""
    bitmaps = read_bitmaps(file, header)
    if header.bitmaps is not None and bitmaps:
        _, size, offset = header.bitmaps
        usage.structure("bitmap directory", offset, size)
    for bitmap in bitmaps:
        usage.structure("bitmap table", bitmap.table, bitmap.entries * 8)
        for entry in read_words(file.fd, bitmap.table, bitmap.entries):
            if entry & OFFSET:
                usage.structure("bitmap", entry & OFFSET, header.cluster)


class _Survey:
    def __init__(self, file: ImageFile, header: Header, counts: Counts):
        self._file, self._header, self._counts = file, header, counts
        self._outdated = bool(header.features & DIRTY)
        clusters = -(-file.length // header.cluster)
        self._usage = Usage(file, header, clusters, self._is_counted)

    def walk(self) -> dict[int, array[int]]:
        header, usage = self._header, self._usage
        usage.structure("header", 0, header.cluster)
        length = header.reference_clusters * header.cluster
        usage.structure("reference table", header.reference_offset, length)
        for _, offset in self._counts.places():
            usage.structure("reference block", offset, header.cluster)
        active = self._l1(header.l1_offset, header.l1_entries)
        tables = Counter(entry & OFFSET for entry in [*active, *self._snapshots()])
        del tables[0]
        use_bitmaps(self._file, header, usage)
        for offset, times in tables.items():
            usage.structure("L2 table", offset, header.cluster, times)
        for offset, times in tables.items():
            usage.table(offset, times)
        self._check_structures()
        self._check_marks(active)
        self._check_counts()
        return usage.used

    def _is_counted(self, number: int) -> bool:
        return self._outdated or self._counts.block(number) is not None

    def _l1(self, offset: int, entries: int) -> array[int]:
        self._usage.structure("L1 table", offset, entries * 8)
        return read_l1(self._file, offset, entries)

    def _snapshots(self) -> array[int]:
        """The entries of the L1 tables of all snapshots."""
        entries = array("Q")
        snapshots, length = read_snapshots(self._file, self._header)
        if snapshots:
            self._usage.structure("snapshot table", self._header.snapshots_offset, length)
        for snapshot in snapshots:
            if snapshot.l1_entries:
                entries.extend(self._l1(snapshot.l1_offset, snapshot.l1_entries))
        return entries

    # What contradicts what

    def _check_structures(self) -> None:
        """Check that no cluster of the guest lies where tables are."""
        for cluster, times in self._usage.structures.items():
            if self._usage.uses(cluster) != times:
                raise self._usage.contradiction(
                    cluster, "a structure and a cluster of the disk lie"
                )

    def _check_marks(self, active: Sequence[int]) -> None:
        """Check that what is marked as used once is used once."""
        if all(max(block) <= 1 for block in self._usage.used.values()):
            return
        self._check_copied(active)
        for entry in active:
            if entry & OFFSET and not self._usage.outside:
                self._check_copied(self._usage.first_words(entry & OFFSET))

    def _check_copied(self, entries: Sequence[int]) -> None:
        for entry in entries:
            if entry & COMPRESSED:
                continue
            cluster = (entry & OFFSET) >> self._header.cluster_bits
            if entry & COPIED and cluster and self._usage.uses(cluster) != 1:
                raise self._usage.contradiction(cluster, "two tables use what one calls its own")

    def _check_counts(self) -> None:
        """Check that no cluster is counted less often than it is used."""
        if self._outdated:
            return
        for number, used in self._usage.used.items():
            counts = self._counts.block(number)
            if counts is None or counts == used:
                continue
            for at, (count, uses) in enumerate(zip(counts, used, strict=True)):
                if count < uses:
                    cluster = number * self._usage.per_block + at
                    raise self._usage.contradiction(cluster, COUNTED_TOO_LOW)
