"""How the bytes of the disk are written.

Writes reach the file at once, so that the end of our process loses nothing. What the host may
lose, and in which order, is another matter: until a flush, any part of what was written since the
last one. So for a crash of the host to show old bytes or new ones, and never others, new clusters
are written in one of two ways. What hides nothing but zeroes goes to a cluster that is new in the
file, and that reads as zeroes whatever is lost. What hides other bytes, be it in a backing file,
a snapshot or a compressed cluster, is flushed before the tables name it.

Where L2 entries are extended, as little is copied as they can tell apart: a subcluster.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Sequence

from msgspec import Struct

from bimetal.backends.block.qcow2.entries import (
    ALL_ALLOCATED,
    ALL_ZERO,
    COMPRESSED,
    COPIED,
    OFFSET,
    ZERO,
    allocated,
    packed_place,
    zeroed,
)
from bimetal.backends.block.qcow2.header import SUBCLUSTERS, Header
from bimetal.backends.block.qcow2.places import Places
from bimetal.backends.block.qcow2.reader import Reader
from bimetal.backends.block.qcow2.references import References
from bimetal.backends.block.qcow2.streams import Streams
from bimetal.backends.block.qcow2.tables import Tables
from bimetal.backends.block.vector import write_vector
from bimetal.base.buffers import split, total

__all__ = ["Writer"]

HIDDEN_LIMIT = 2 << 20
"""Bytes that a write hides and that are worth a look whether they are zero."""


class _New(Struct):
    """New clusters for the guest clusters from ``first`` on, which had the entries ``old``.
    ``fresh`` ones are zero until they are written."""

    first: int
    clusters: range
    old: Sequence[int]
    fresh: bool


class _Waiting(Struct):
    """Entries that only the tables in memory have: the file has the words ``old``. After that,
    nothing names what the entries ``released`` do; if it fails, nobody uses ``clusters``."""

    first: int
    old: array[int]
    clusters: range
    released: Sequence[int]


class Writer:
    """Writes the disk to which ``tables`` lead, and ``reader`` shows. Methods raise OSError."""

    def __init__(
        self,
        header: Header,
        tables: Tables,
        reader: Reader,
        places: Places,
        references: References,
    ):
        self._header, self._tables, self._reader = header, tables, reader
        self._places, self.references = places, references
        self._bits, self._cluster = header.cluster_bits, header.cluster
        self._extended = header.entry_words == 2
        self._least = header.cluster // SUBCLUSTERS if self._extended else header.cluster
        self._streams = Streams(HIDDEN_LIMIT >> header.cluster_bits)
        self._waiting: deque[_Waiting] = deque()
        self._held = False

    def writev(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """See `Block.writev`."""
        rest, end = list(buffers), offset + total(buffers)
        try:
            while offset < end:
                first = offset >> self._bits
                entries = self._tables.entries(first, (end - 1 >> self._bits) - first + 1)
                if own := self._own_in_a_row(entries):
                    stop = min(end, first + own << self._bits)
                    part, rest = split(rest, stop - offset)
                    write_vector(self._places.fd, self._reader.place(entries[0], offset), part)
                elif self._extended and self._is_named(entries[0]):
                    stop, rest = self._write_inside(offset, rest, entries[0])
                else:
                    stop, rest = self._write_elsewhere(offset, rest, len(entries))
                offset = stop
        finally:
            if self._waiting and not self._held:
                self.name_waiting()

    def write_now(self, offset: int, buffers: Sequence[memoryview]) -> bool:
        """See `Block.write_now`: at once, if all of it is where it is to be."""
        first = offset >> self._bits
        count = (offset + total(buffers) - 1 >> self._bits) - first + 1
        if not self._tables.has(first, first + count - 1):
            return False
        entries = self._tables.entries(first, count)
        if len(entries) < count or not all(entry & COPIED for entry in entries):
            return False
        if self._own_in_a_row(entries) < count:
            return False
        write_vector(self._places.fd, self._reader.place(entries[0], offset), buffers)
        return True

    def hold(self) -> None:
        """See `Qcow2Image.hold`."""
        self._held = True

    @property
    def unsettled(self) -> bool:
        """Whether `settle` has anything to do."""
        return bool(self._waiting)

    def settle(self) -> None:
        """See `Qcow2Image.settle`."""
        self._held = False
        self.name_waiting()

    # What is written where it is

    def _own_in_a_row(self, entries: Sequence[int]) -> int:
        """How many of the first ``entries`` may be written where they are, as one."""
        count, in_a_row = 0, self._reader.in_a_row(entries)
        while count < in_a_row and self._is_own(entries[count]):
            count += 1
        return count

    def _is_own(self, entry: int) -> bool:
        """Whether all of a cluster may be written where it is."""
        if self._extended and entry & ALL_ALLOCATED != ALL_ALLOCATED:
            return False
        return not entry & ZERO and self._is_named(entry)

    def _is_named(self, entry: int) -> bool:
        """Whether there is a place for a cluster that nobody else uses."""
        if entry & COMPRESSED or not entry & self._places.there:
            return False
        return bool(entry & COPIED) or not self.references.is_shared((entry & OFFSET) >> self._bits)

    def _write_inside(
        self, offset: int, rest: list[memoryview], entry: int
    ) -> tuple[int, list[memoryview]]:
        """Write what of ``rest`` fits to the place that a cluster has, though not all of its
        subclusters are there: (where that ends, what is left)."""
        first = offset >> self._bits
        start = first << self._bits
        stop = min(offset + total(rest), start + self._cluster)
        part, left = split(rest, stop - offset)
        begin, end = offset - offset % self._least, stop + -stop % self._least
        subclusters = (begin - start) // self._least, (end - start) // self._least
        new = allocated(*subclusters)
        if entry & new == new:
            write_vector(self._places.fd, self._reader.place(entry, offset), part)
            return stop, left
        head, tail = self._reader.shown(begin, offset), self._reader.shown(stop, end)
        write_vector(self._places.fd, self._reader.place(entry, begin), [head, *part, tail])
        old = self._tables.hold(first, [(entry | new) & ~zeroed(*subclusters)], self.references)
        self._waiting.append(_Waiting(first, old, range(0), ()))
        return stop, left

    # What is written elsewhere

    def _write_elsewhere(
        self, offset: int, rest: list[memoryview], wanted: int
    ) -> tuple[int, list[memoryview]]:
        """Write what of ``rest`` fits to new clusters, at most ``wanted``: (where that ends, what
        is left). If there is a row of such writes, some clusters more are copied with it."""
        first, end = offset >> self._bits, offset + total(rest)
        ahead = 0 if self._extended else self._streams.ahead(first)
        while True:
            new = self._take(first, wanted, ahead)
            stop = min(end, first + len(new.clusters) << self._bits)
            part, left = split(rest, stop - offset)
            try:
                self._write_new(new, offset, stop, part)
            except OSError:
                if not ahead:
                    raise
                ahead = 0  # there may be no room for more than needed, or the rest unreadable
            else:
                return stop, left

    def _take(self, first: int, wanted: int, ahead: int) -> _New:
        """New clusters for guest clusters from ``first`` on that need some, as many as lie in a
        row, at most ``wanted``, or ``ahead`` more."""
        clusters_of_disk = -(-self._header.size >> self._bits)
        most = min(max(wanted, HIDDEN_LIMIT >> self._bits), clusters_of_disk - first)
        entries = self._tables.entries(first, min(wanted + ahead, most))
        count = 1
        while count < len(entries) and not self._keeps_its_place(entries[count]):
            if count >= wanted and self._reader.is_blank(entries[count]):
                break  # nothing to copy
            count += 1
        clusters, fresh = self._places.allocate(first, count, self.references)
        return _New(first, clusters, entries[: len(clusters)], fresh)

    def _keeps_its_place(self, entry: int) -> bool:
        return self._is_named(entry) if self._extended else self._is_own(entry)

    def _write_new(self, new: _New, offset: int, stop: int, part: list[memoryview]) -> None:
        """Write ``part`` from ``offset`` to ``stop`` to new clusters; then make them a part of the
        disk, or have that wait."""
        start = new.first << self._bits
        begin, end = self._edges(new, offset, stop)
        try:
            inside, content, hides = self._content(new, offset, stop, part, begin, end)
            place = (new.clusters.start << self._bits) + inside
            write_vector(self._places.fd, place, content)
            entries = self._entries(new, begin - start, end - start)
            if hides:
                old = self._tables.hold(new.first, entries, self.references)
            else:
                self._tables.store(new.first, entries, self.references)
        except OSError:
            self._places.free_later(new.clusters, self.references)
            raise
        if hides:
            self._streams.hidden(range(new.first, new.first + len(entries)))
            self._waiting.append(_Waiting(new.first, old, new.clusters, new.old))
        else:
            self.release(new.old)

    def _edges(self, new: _New, offset: int, stop: int) -> tuple[int, int]:
        """From where to where new clusters must have bytes of their own, if they are written from
        ``offset`` to ``stop``."""
        start = new.first << self._bits
        limit = start + (len(new.clusters) << self._bits)
        if not self._extended:
            return start, limit
        begin, end = offset - offset % self._least, stop + -stop % self._least
        if new.old[0] & (self._places.there | COMPRESSED):
            begin = start  # nothing will name the old place any more
        if new.old[-1] & (self._places.there | COMPRESSED):
            end = limit
        return begin, end

    def _entries(self, new: _New, begin: int, end: int) -> list[int]:
        """The entries that name new clusters, which have bytes of their own between two places."""
        plain = [number << self._bits | COPIED for number in new.clusters]
        if not self._extended:
            return plain
        entries = []
        for at, (entry, old) in enumerate(zip(plain, new.old, strict=True)):
            first = max(begin // self._least - at * SUBCLUSTERS, 0)
            stop = min(end // self._least - at * SUBCLUSTERS, SUBCLUSTERS)
            zero = old & ALL_ZERO & ~zeroed(first, stop)
            entries.append(entry | allocated(first, stop) | zero)
        return entries

    def _content(
        self, new: _New, offset: int, stop: int, part: list[memoryview], begin: int, end: int
    ) -> tuple[int, list[memoryview], bool]:
        """What to write to new clusters for ``part``, and where inside them; and whether it hides
        something, and therefore has with it what the disk shows beside it, from ``begin`` to
        ``end``."""
        start = new.first << self._bits
        if not new.fresh or not all(map(self._reader.is_blank, new.old)):
            head, tail, blank = self._hidden(begin, offset, stop, end)
            if not new.fresh or not blank:
                return begin - start, [head, *part, tail], True
        if offset == start:
            # Who begins a cluster mostly goes on, which is quicker where there are bytes already.
            return 0, [*part, memoryview(bytes(end - stop))], False
        return offset - start, part, False

    def _hidden(
        self, start: int, offset: int, stop: int, limit: int
    ) -> tuple[memoryview, memoryview, bool]:
        """What the disk shows from ``start`` to ``offset``, and from ``stop`` to ``limit``; and
        whether it is known to show nothing but zeroes from ``start`` to ``limit``."""
        if limit - start > HIDDEN_LIMIT:
            return self._reader.shown(start, offset), self._reader.shown(stop, limit), False
        try:
            shown = self._reader.shown(start, limit)
        except OSError:
            return self._reader.shown(start, offset), self._reader.shown(stop, limit), False
        return shown[: offset - start], shown[stop - start :], shown.obj == bytes(limit - start)

    # What the tables name, and what they do not name any more

    def name_waiting(self) -> None:
        """Make what was written to clusters that hide something a part of the disk. Raises
        OSError, and then what is left of it is forgotten."""
        if not self._waiting:
            return
        try:
            self._places.flush()
            while self._waiting:
                waiting = self._waiting[0]
                self._tables.write(waiting.first, waiting.old)
                self._waiting.popleft()
                self.release(waiting.released)
        except OSError:
            for waiting in reversed(self._waiting):
                self._tables.drop(waiting.first, waiting.old)
                self._places.free_later(waiting.clusters, self.references)
            self._waiting.clear()
            raise

    def release(self, entries: Sequence[int]) -> None:
        """The tables name the clusters of ``entries`` no more."""
        for entry in entries:
            if entry & COMPRESSED:
                offset, length = packed_place(entry, self._bits)
                last = offset + length - 1 >> self._bits
                self.references.free_later(range(offset >> self._bits, last + 1))
            elif entry & self._places.there:
                self._places.free_later([(entry & OFFSET) >> self._bits], self.references)

    def drop(self, start: int, stop: int, gone: int) -> None:
        """Give the space of whole clusters back; ``gone`` becomes their entry."""
        first, last = start >> self._bits, -(-stop // self._cluster)
        while first < last:
            self.name_waiting()
            old = list(self._tables.entries(first, last - first))
            if old.count(gone) < len(old):
                self._tables.store(first, [gone] * len(old), self.references)
                self.release(old)
            first += len(old)
