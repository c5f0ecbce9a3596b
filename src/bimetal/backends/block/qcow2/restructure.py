"""Changes of an image that happen at once, or not at all: a snapshot is made, applied or deleted,
the disk gets another size or lies on another image, what is wrong is made right.

All tables and counts that such a change needs are written to where nothing lies yet, behind the
last cluster in use, and flushed. Then one sector is written, the first of the header, which names
them: before, the image is what it was, and afterwards what it should be, with exact counts. What
only the old tables used is free from that moment on.
"""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress

from msgspec import Struct, field
from msgspec.structs import replace

from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.holes import Holes
from bimetal.backends.block.qcow2.counts import Counts
from bimetal.backends.block.qcow2.entries import COMPRESSED, COPIED, OFFSET
from bimetal.backends.block.qcow2.header import REFERENCE_TABLE_LIMIT, Header
from bimetal.backends.block.qcow2.snapshots import Snapshot, snapshot_bytes
from bimetal.backends.block.qcow2.survey import read_l1, use_bitmaps
from bimetal.backends.block.qcow2.usage import TooOften, Usage
from bimetal.backends.block.qcow2.widths import pack
from bimetal.backends.block.qcow2.words import read_words, words_to_bytes, write_all
from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["NewSnapshot", "Structure", "give_back", "write_structure"]


class NewSnapshot(Struct):
    """``snapshot`` shall be one more of the image, with the L2 tables at these offsets."""

    snapshot: Snapshot
    tables: Sequence[int]


class Structure(Struct):
    """What an image shall be: its header, in which the places of all tables are of no account; the
    offsets of the L2 tables of the disk, 0 where there is none; the snapshots that it keeps, and
    those that it gets. ``edited`` has L2 tables that are nowhere yet, by their index in L1."""

    header: Header
    active: list[int]
    kept: list[Snapshot]
    added: list[NewSnapshot] = field(default_factory=list)
    edited: dict[int, array[int]] = field(default_factory=dict)


def write_structure(
    file: ImageFile, structure: Structure, end: int
) -> tuple[Header, dict[int, array[int]]]:
    """Write all that makes the image in ``file``, where nobody uses clusters from ``end`` on, what
    ``structure`` says, but the header: that, and how often each cluster is used once it is stored,
    is returned. All that was written before is safe.

    Raises OSError, and `BimetalError` where the format has no room; what was written is given back.
    """
    try:
        return _Restructuring(file, structure, end).run()
    except TooOften as error:
        _cut(file, end * structure.header.cluster)
        bits = structure.header.reference_bits
        raise BimetalError(
            f"the image {file.path!r} counts with {bits} bits how often something is used, which "
            "is not enough for one more snapshot",
            "delete a snapshot, or make an image of it that counts with more: "
            "bimetal image convert -O qcow2 -o refcount_bits=16",
            ExitCode.DATA,
        ) from error
    except (OSError, BimetalError):
        _cut(file, end * structure.header.cluster)
        raise


def _cut(file: ImageFile, end: int) -> None:
    """Give back what of the file lies behind its first ``end`` bytes, as far as the host does."""
    with suppress(OSError):
        if not file.block_device and os.lseek(file.fd, 0, os.SEEK_END) > end:
            os.ftruncate(file.fd, end)


def give_back(file: ImageFile, header: Header, counts: Counts, used: dict[int, array[int]]) -> None:
    """Give the space of what had ``counts`` and is not ``used`` any more back to the host, as far
    as it takes it."""
    holes = Holes(file.fd, block_device=file.block_device)
    try:
        for run in _freed(counts, used):
            holes.punch(run.start * header.cluster, len(run) * header.cluster)
    except OSError as error:
        file.log.host_error("space could not be given back", str(error))


def _freed(counts: Counts, used: dict[int, array[int]]) -> Iterator[range]:
    """The clusters that were used and are not any more."""
    run = range(0)
    for number, _ in counts.places():
        before, after = counts.block(number), used.get(number)
        if before is None or before == after:
            continue
        now = after or bytes(len(before))
        pairs = zip(before, now, strict=True)
        for at, (count, uses) in enumerate(pairs, number * counts.per_block):
            if not count or uses:
                continue
            if run.stop != at:
                if run:
                    yield run
                run = range(at, at)
            run = range(run.start, at + 1)
    if run:
        yield run


class _Restructuring:
    def __init__(self, file: ImageFile, structure: Structure, end: int):
        self._file, self._structure = file, structure
        self._header = replace(structure.header)
        self._cluster, self._bits = self._header.cluster, self._header.cluster_bits
        self._next = max(end, 1)
        self._usage = Usage(file, self._header, 1 << 62)
        self._tables: Counter[int] = Counter()
        self._moved: dict[int, int] = {}

    def run(self) -> tuple[Header, dict[int, array[int]]]:
        structure, header, usage = self._structure, self._header, self._usage
        usage.structure("header", 0, self._cluster)
        self._tables.update(filter(None, structure.active))
        for new in structure.added:
            self._tables.update(filter(None, new.tables))
        for snapshot in structure.kept:
            if snapshot.l1_entries:
                usage.structure("L1 table", snapshot.l1_offset, snapshot.l1_entries * 8)
                l1 = read_l1(self._file, snapshot.l1_offset, snapshot.l1_entries)
                self._tables.update(entry & OFFSET for entry in l1 if entry & OFFSET)
        use_bitmaps(self._file, header, usage)
        for offset, times in self._tables.items():
            usage.table(offset, times)
        for words in structure.edited.values():
            usage.entries(words[:: header.entry_words], 1)
        active = [self._active_table(index) for index in range(len(structure.active))]
        snapshots = [*structure.kept, *map(self._new_snapshot, structure.added)]
        for offset, times in self._tables.items():
            if times:
                usage.structure("L2 table", offset, self._cluster, times)
        marked = [offset | COPIED * (self._tables[offset] == 1) for offset in active]
        header.l1_entries = len(marked)
        header.l1_offset = self._place("L1 table", words_to_bytes(array("Q", marked)))
        header.snapshots, header.snapshots_offset = len(snapshots), 0
        if snapshots:
            header.snapshots_offset = self._place("snapshot table", snapshot_bytes(snapshots))
        self._count()
        self._file.flush()
        return header, usage.used

    # Tables

    def _active_table(self, index: int) -> int:
        """Where the L2 table of that index of the disk lies, in which what is used once is marked
        so: where it is, or in a new place."""
        old = self._structure.active[index]
        words = self._structure.edited.get(index)
        if words is None and not old:
            return 0
        marked = read_words(self._file.fd, old, self._cluster // 8) if words is None else words[:]
        before = marked[:]
        self._mark(marked)
        if words is None and marked == before:
            return old
        new = self._take(words_to_bytes(marked))
        self._tables[new] = 1
        if old and words is None:
            self._tables[old] -= 1
            self._moved[old] = new
        return new

    def _mark(self, words: array[int]) -> None:
        for at in range(0, len(words), self._header.entry_words):
            entry = words[at]
            if entry & OFFSET and not entry & COMPRESSED:
                cluster = (entry & OFFSET) >> self._bits
                once = self._usage.outside or self._usage.uses(cluster) == 1
                words[at] = entry & ~COPIED | COPIED * once

    def _new_snapshot(self, new: NewSnapshot) -> Snapshot:
        """A snapshot whose L1 table has a place. It shares tables with the disk."""
        tables = array("Q")
        for offset in new.tables:
            moved = self._moved.get(offset, offset)
            if moved != offset:
                self._tables[offset] -= 1
                self._tables[moved] += 1
            tables.append(moved)
        place = self._place("L1 table", words_to_bytes(tables))
        return replace(new.snapshot, l1_offset=place, l1_entries=len(tables))

    def _place(self, what: str, data: bytes) -> int:
        """Where a new structure will lie."""
        offset = self._take(data)
        self._usage.structure(what, offset, len(data))
        return offset

    def _take(self, data: bytes) -> int:
        """Write whole clusters behind all that is used, where nobody misses what was there; their
        offset."""
        offset = self._next * self._cluster
        write_all(self._file.fd, data + bytes(-len(data) % self._cluster), offset)
        self._next += -(-len(data) // self._cluster)
        return offset

    # Counts

    def _count(self) -> None:
        """Give the counts of everything a place, and those of that too."""
        header, usage = self._header, self._usage
        first, taken = self._next, range(0)
        while True:
            numbers = sorted(number for number, block in usage.used.items() if any(block))
            entries = max(numbers[-1] + 1, header.reference_clusters * self._cluster // 8)
            clusters = -(-8 * entries // self._cluster)
            stop = first + clusters + len(numbers)
            if taken == range(first, stop):
                break
            for cluster in range(max(taken.stop, first), stop):
                usage.structure("reference table", cluster * self._cluster, self._cluster)
            taken = range(first, stop)
        if clusters * self._cluster > REFERENCE_TABLE_LIMIT:
            raise BimetalError(
                f"the image {self._file.path!r} would need more reference counts than qcow2 has",
                "make one of larger clusters: bimetal image convert -O qcow2 -o cluster_size=2M",
                ExitCode.DATA,
            )
        table = array("Q", bytes(clusters * self._cluster))
        header.reference_offset, header.reference_clusters = first * self._cluster, clusters
        for at, number in enumerate(numbers, first + clusters):
            table[number] = at * self._cluster
        self._take(words_to_bytes(table))
        for number in numbers:
            self._take(pack(usage.used[number], header.reference_bits))
