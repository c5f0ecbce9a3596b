"""Looking at all of an image, and telling everything that is wrong with it.

Unlike `survey`, which ends at the first contradiction, since then nothing may be written, this goes
on; and it can mend what is found.
"""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.qcow2.bitmaps import read_bitmaps
from bimetal.backends.block.qcow2.counts import Counts
from bimetal.backends.block.qcow2.entries import (
    COMPRESSED,
    COPIED,
    OFFSET,
    WORD,
    contradiction,
    packed_place,
)
from bimetal.backends.block.qcow2.header import CORRUPT, DIRTY, Header
from bimetal.backends.block.qcow2.header_place import store_header
from bimetal.backends.block.qcow2.pointers import Pointers
from bimetal.backends.block.qcow2.restructure import Structure, write_structure
from bimetal.backends.block.qcow2.snapshots import Snapshot, read_snapshots
from bimetal.backends.block.qcow2.words import is_hole, read_words, write_all

__all__ = ["Examination", "Findings"]

MESSAGES = 1000
"""Faults that are told one by one."""


class Findings(Struct):
    """What an examination found: contradictions, clusters that are counted and that nobody uses,
    and parts that could not be read; and of the clusters of the disk, how many there are."""

    corruptions: int = 0
    leaks: int = 0
    errors: int = 0
    total: int = 0
    allocated: int = 0
    fragmented: int = 0
    compressed: int = 0
    end: int = 0
    messages: list[str] = field(default_factory=list)

    def tell(self, message: str) -> None:
        """Note a message, if there is no end of them."""
        if len(self.messages) < MESSAGES:
            self.messages.append(message)


class Examination:
    """Examines the image in ``file``, which has the header ``header``; nothing is written until
    that is asked for."""

    def __init__(self, file: ImageFile, header: Header):
        self._file, self._header = file, header
        self._cluster, self._bits = header.cluster, header.cluster_bits
        self._clusters = -(-file.length // header.cluster)
        self._outside = header.data_file is not None
        self._per_block = header.cluster * 8 // header.reference_bits
        self._uses: dict[int, array[int]] = {}
        self._structures: dict[int, str] = {}
        self._next = 0
        self._overlaps = self._nonsense = False
        self._marked_nothing: list[int] = []
        self._snapshots: list[Snapshot] = []
        self._tables: Counter[int] = Counter()
        self._active: array[int] = array("Q")
        self._counts: Counts | None = None
        self.findings = Findings(total=-(-header.size // header.cluster))

    def run(self) -> Findings:
        """Examine it."""
        found = self.findings
        try:
            self._counts = Counts(self._file, self._header, Pointers(self._file.fd))
        except OSError as error:
            self._unreadable("the reference table", error)
        self._walk()
        self._compare()
        found.end = self._end() << self._bits
        return found

    # What is used

    def _walk(self) -> None:
        header = self._header
        self._structure("header", 0, self._cluster)
        length = header.reference_clusters * self._cluster
        self._structure("reference table", header.reference_offset, length)
        for _, offset in self._counts.places() if self._counts is not None else ():
            self._structure("reference block", offset, self._cluster)
        try:
            self._snapshots, length = read_snapshots(self._file, header)
        except OSError as error:
            self._unreadable("the snapshot table", error)
        if self._snapshots:
            self._structure("snapshot table", header.snapshots_offset, length)
        self._active = self._l1("L1 table", header.l1_offset, header.l1_entries)
        self._tables.update(entry & OFFSET for entry in self._active if entry & OFFSET)
        for snapshot in self._snapshots:
            what = f"L1 table of snapshot {snapshot.identity}"
            l1 = self._l1(what, snapshot.l1_offset, snapshot.l1_entries)
            self._tables.update(entry & OFFSET for entry in l1 if entry & OFFSET)
        firsts = {e & OFFSET: n * self._header.per_table for n, e in enumerate(self._active)}
        for offset, times in self._tables.items():
            self._structure("L2 table", offset, self._cluster, times)
        for offset, times in self._tables.items():
            self._l2(offset, times, firsts.get(offset))
        self._bitmaps()

    def _l1(self, what: str, offset: int, entries: int) -> array[int]:
        if not entries:
            return array("Q")
        if not self._structure(what, offset, entries * 8):
            return array("Q")  # to read what lies on something else may take for ever
        if is_hole(self._file.fd, offset, entries * 8):
            return array("Q", bytes(entries * 8))
        try:
            words = read_words(self._file.fd, offset, entries)
        except OSError as error:
            self._unreadable(f"the {what}", error)
            return array("Q")
        for at, entry in enumerate(words):
            if wrong := entry & ~(COPIED | OFFSET):
                self._senseless(what, f"has reserved bits: {wrong:#x}")
            elif entry == COPIED:
                self._corrupt(f"an entry of the {what} marks no table as used once")
                self._marked_nothing.append(offset + 8 * at)
        return words

    def _l2(self, offset: int, times: int, first: int | None) -> None:
        """Note what an L2 table uses; ``first`` is the cluster of the disk that its first entry is
        for, if it is a table of the disk as it is now."""
        self._next, active = 0, first is not None
        extended = self._header.entry_words == 2
        for number, whole in enumerate(self._entries(offset), first or 0):
            wrong = contradiction(whole, extended=extended, outside=self._outside)
            if wrong:
                self._senseless(f"L2 table at {offset:#x}", wrong)
            entry = whole & WORD
            if entry & COMPRESSED:
                start, length = packed_place(entry, self._bits)
                last = min(start + length - 1, self._file.length - 1)
                self._use(
                    range(
                        start >> self._bits, max(last, start) + 1 + self._cluster - 1 >> self._bits
                    ),
                    times,
                )
                if active:
                    self.findings.allocated += 1
                    self.findings.compressed += 1
                    self.findings.fragmented += 1
                continue
            place = entry & OFFSET
            if not place and not (self._outside and entry & COPIED):
                continue
            if active:
                self.findings.allocated += 1
                self.findings.fragmented += bool(self._next) and place != self._next
                self._next = place + self._cluster
            if place & self._cluster - 1:
                self._corrupt(f"a cluster lies at {place:#x}, between clusters")
            elif not self._outside:
                self._use(range(place >> self._bits, (place >> self._bits) + 1), times)
            elif active and place != number << self._bits:
                wrong = f"names {place:#x} of the data file for {number << self._bits:#x}"
                self._senseless(f"L2 table at {offset:#x}", wrong)

    def _table(self, offset: int) -> Sequence[int]:
        """The first words of the entries of an L2 table; none if it cannot be read."""
        return self._words(offset)[:: self._header.entry_words]

    def _entries(self, offset: int) -> Sequence[int]:
        """The entries of an L2 table; none if it cannot be read."""
        words = self._words(offset)
        if self._header.entry_words == 1:
            return words
        return [word | bits << 64 for word, bits in zip(words[::2], words[1::2], strict=True)]

    def _words(self, offset: int) -> Sequence[int]:
        if offset & self._cluster - 1 or is_hole(self._file.fd, offset, self._cluster):
            return ()
        try:
            return read_words(self._file.fd, offset, self._cluster // 8)
        except OSError as error:
            self._unreadable(f"the L2 table at {offset:#x}", error)
            return ()

    def _bitmaps(self) -> None:
        try:
            bitmaps = read_bitmaps(self._file, self._header)
            if self._header.bitmaps is not None and bitmaps:
                _, size, offset = self._header.bitmaps
                self._structure("bitmap directory", offset, size)
            for bitmap in bitmaps:
                self._structure("bitmap table", bitmap.table, bitmap.entries * 8)
                for entry in read_words(self._file.fd, bitmap.table, bitmap.entries):
                    if entry & OFFSET:
                        self._structure("bitmap", entry & OFFSET, self._cluster)
        except OSError as error:
            self._unreadable("the bitmaps", error)

    def _structure(self, what: str, offset: int, length: int, times: int = 1) -> bool:
        """Note a part of the file that holds something other than the guest's data; whether it lies
        where nothing else of that kind does."""
        if offset & self._cluster - 1:
            self._corrupt(f"a {what} lies at {offset:#x}, between clusters")
            self._overlaps = True
            return False
        if offset + length > self._file.length + self._cluster - 1:
            self._corrupt(f"a {what} at {offset:#x} is behind the end")
            self._overlaps = True
            return False
        alone = True
        clusters = range(offset >> self._bits, offset + length + self._cluster - 1 >> self._bits)
        self._use(clusters, times)
        for cluster in clusters:
            if cluster in self._structures:
                self._overlaps = True
                self._corrupt(
                    f"a {what} and a {self._structures[cluster]} lie at {cluster << self._bits:#x}"
                )
                alone = False
            self._structures[cluster] = what
        return alone

    def _use(self, clusters: range, times: int) -> None:
        if clusters and clusters[-1] >= self._clusters:
            self._corrupt(f"what lies at {clusters[0] << self._bits:#x} is behind the end")
            self._overlaps = True
            return
        for cluster in clusters:
            number, at = divmod(cluster, self._per_block)
            block = self._uses.get(number)
            if block is None:
                block = self._uses[number] = array("Q", bytes(8 * self._per_block))
            block[at] += times

    # What contradicts what

    def _compare(self) -> None:
        """Compare the counts with the uses, and the marks with the counts."""
        for number in range(-(-self._clusters // self._per_block)):
            uses = self._uses.get(number)
            counts = self._count_block(number)
            if uses is None and counts is None:
                continue
            first = number * self._per_block
            pairs = zip(
                counts or bytes(self._per_block), uses or bytes(self._per_block), strict=True
            )
            for cluster, (count, used) in enumerate(pairs, first):
                if cluster >= self._clusters:
                    break
                if count < used:
                    self._corrupt(f"cluster {cluster} is counted {count} times, and used {used}")
                elif count > used:
                    self.findings.leaks += 1
                    self.findings.tell(
                        f"leaked: cluster {cluster} is counted {count} times, and used {used}"
                    )
        self._check_overlaps()
        if not self.findings.corruptions or not self._overlaps:
            self._check_marks()

    def _check_overlaps(self) -> None:
        tables = {offset >> self._bits: times for offset, times in self._tables.items()}
        for cluster, what in self._structures.items():
            expected = tables.get(cluster, 1) if what == "L2 table" else 1
            if self._used(cluster) != max(expected, 1):
                self._overlaps = True
                self._corrupt(f"a {what} and something else lie at {cluster << self._bits:#x}")

    def _check_marks(self) -> None:
        for entry in self._active:
            if entry & OFFSET:
                self._check_mark("L2 table", entry)
                for cluster in self._table(entry & OFFSET):
                    if cluster & OFFSET and not cluster & COMPRESSED:
                        self._check_mark("cluster", cluster, outside=self._outside)

    def _check_mark(self, what: str, entry: int, *, outside: bool = False) -> None:
        cluster = (entry & OFFSET) >> self._bits
        count = 1 if outside else self._count(cluster)
        if (count == 1) != bool(entry & COPIED):
            claim = "is marked" if entry & COPIED else "is not marked"
            self._corrupt(f"the {what} at {entry & OFFSET:#x} {claim} as used once: {count} times")

    def _used(self, cluster: int) -> int:
        number, at = divmod(cluster, self._per_block)
        block = self._uses.get(number)
        return 0 if block is None else block[at]

    def _count(self, cluster: int) -> int:
        number, at = divmod(cluster, self._per_block)
        block = self._count_block(number)
        return 0 if block is None else block[at]

    def _count_block(self, number: int) -> array[int] | None:
        if self._counts is None:
            return None
        try:
            return self._counts.block(number)
        except OSError:
            return None  # its place is told as that of a structure

    def _end(self) -> int:
        """The cluster behind the last one that is counted."""
        for number in range(-(-self._clusters // self._per_block) - 1, -1, -1):
            block = self._count_block(number)
            for at in (
                range(self._per_block - 1, -1, -1) if block is not None and any(block) else ()
            ):
                if block is not None and block[at]:
                    return number * self._per_block + at + 1
        return 0

    def _corrupt(self, message: str) -> None:
        self.findings.corruptions += 1
        self.findings.tell(message)

    def _senseless(self, what: str, wrong: str) -> None:
        """Note an entry of a table that says what none may say."""
        self._corrupt(f"an entry of the {what} {wrong}")
        self._nonsense = True

    def _unreadable(self, what: str, error: OSError) -> None:
        self.findings.errors += 1
        self.findings.tell(f"{what} cannot be read: {error.strerror}")

    # What can be mended

    @property
    def can_mend(self) -> bool:
        """Whether what is wrong is nothing but counts and marks."""
        return not (self._overlaps or self._nonsense or self.findings.errors)

    def mend_leaks(self) -> None:
        """Count what nobody uses as free. Raises OSError."""
        for number, uses in self._leaky():
            counts = self._count_block(number)
            if self._counts is not None and counts is not None:
                lowered = [min(pair) for pair in zip(counts, uses, strict=True)]
                self._counts.set_block(number, lowered)
        self._file.flush()

    def _leaky(self) -> list[tuple[int, array[int]]]:
        nothing = array("Q", bytes(8 * self._per_block))
        places = self._counts.places() if self._counts is not None else ()
        return [(number, self._uses.get(number, nothing)) for number, _ in places]

    def mend_all(self) -> None:
        """Count everything anew, and mark what is used once. Raises OSError and `BimetalError`."""
        header = replace(self._header)
        header.features &= ~(CORRUPT | DIRTY)
        for place in self._marked_nothing:  # in L1 tables of snapshots, which stay where they are
            write_all(self._file.fd, bytes(8), place)
        offsets = [entry & OFFSET for entry in self._active]
        structure = Structure(header, offsets, self._snapshots)
        end = os.lseek(self._file.fd, 0, os.SEEK_END)
        header, _ = write_structure(self._file, structure, -(-end // self._cluster))
        store_header(self._file, header)
