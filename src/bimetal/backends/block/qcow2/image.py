"""The disk in a qcow2 image.

Writes reach the file at once, so that the end of our process loses nothing. What the host may
lose, and in which order, is another matter: until a flush, any part of what was written since the
last one. So for a crash of the host to show old bytes or new ones, and never others, new clusters
are written in one of two ways. What hides nothing but zeroes goes to a cluster that is new in the
file, and that reads as zeroes whatever is lost. What hides other bytes, be it in a backing file,
a snapshot or a compressed cluster, is flushed before the tables name it.
"""

from __future__ import annotations

import errno
import os
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bimetal.backends.block.block import Block, Extent
from bimetal.backends.block.commands import repair_command
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.qcow2.entries import COMPRESSED, COPIED, OFFSET, ZERO, packed_place
from bimetal.backends.block.qcow2.header import Header
from bimetal.backends.block.qcow2.pointers import Pointers
from bimetal.backends.block.qcow2.reader import Reader
from bimetal.backends.block.qcow2.recovery import make_writable, mark_damaged
from bimetal.backends.block.qcow2.references import References
from bimetal.backends.block.qcow2.streams import Streams
from bimetal.backends.block.qcow2.tables import Tables
from bimetal.backends.block.qcow2.words import DamagedImage
from bimetal.backends.block.vector import write_vector
from bimetal.base.buffers import split, total
from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["Qcow2Image"]

HIDDEN_LIMIT = 2 << 20
"""Bytes that a write hides and that are worth a look whether they are zero."""


@dataclass
class _New:
    """New clusters for the guest clusters from ``first`` on, which had the entries ``old``.
    ``fresh`` ones are zero until they are written."""

    first: int
    clusters: range
    old: array[int]
    fresh: bool


class Qcow2Image(Block):
    """The disk of which ``header`` is the header of ``file``, over ``backing``, if that is named.

    Closes both. An image that contradicts itself can be read; what would change it raises
    OSError. Raises `BimetalError` if the image cannot be written though ``file`` may.
    """

    def __init__(self, file: ImageFile, header: Header, backing: Block | None = None):
        self.name, self.readonly, self.size = file.path, file.readonly, header.size
        self._file, self._fd, self._header, self._backing = file, file.fd, header, backing
        self._bits, self._cluster = header.cluster_bits, header.cluster
        self._pointers = Pointers(file.fd)
        self._tables = Tables(file, header, self._pointers)
        self._reader = Reader(file, header, self._tables, backing)
        self._damage = ""
        self._held = False
        self._streams = Streams(HIDDEN_LIMIT >> header.cluster_bits)
        self._waiting: deque[_New] = deque()
        self._references = None if file.readonly else self._make_writable()
        self._closed = False

    def _make_writable(self) -> References | None:
        try:
            return make_writable(self._file, self._header, self._pointers)
        except DamagedImage as error:
            self._damage = (
                f"{error.strerror}; copy it and then repair it: {repair_command(self.name)}"
            )
            self._file.log.host_error("the image can only be read", self._damage)
            return None
        except OSError as error:
            raise BimetalError(
                f"the qcow2 image {self.name!r} cannot be written: {error}",
                "check the host's disk, or open the image with readonly or snapshot",
                ExitCode.DATA,
            ) from error

    def readv(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """See `Block.readv`."""
        self._reader.readv(offset, buffers)

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """See `Block.extents`."""
        return self._reader.extents(offset, length)

    # Writing

    def writev(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """See `Block.writev`."""
        references = self._begin()
        rest, end = list(buffers), offset + total(buffers)
        try:
            while offset < end:
                first = offset >> self._bits
                entries = self._tables.entries(first, (end - 1 >> self._bits) - first + 1)
                if own := self._own_in_a_row(entries, references):
                    stop = min(end, first + own << self._bits)
                    part, rest = split(rest, stop - offset)
                    place = self._reader.place(entries[0]) + (offset & self._cluster - 1)
                    write_vector(self._fd, place, part)
                else:
                    stop, rest = self._write_elsewhere(offset, rest, len(entries), references)
                offset = stop
        finally:
            if self._waiting and not self._held:
                self._name_waiting()

    def hold(self) -> None:
        """Writes from now on belong together, until `settle`: what hides other bytes is flushed
        once for all of them, and until then none of them counts as done."""
        self._held = True

    @property
    def unsettled(self) -> bool:
        """Whether `settle` has anything to do."""
        return bool(self._waiting)

    def settle(self) -> None:
        """End what `hold` began. If this raises OSError, none of those writes is done."""
        self._held = False
        self._name_waiting()

    def _begin(self) -> References:
        """What every change begins with. Raises OSError if nothing may be changed."""
        if self._damage:
            mark_damaged(self._file, self._header)
            raise OSError(errno.EIO, self._damage)
        if self._references is None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        if self._references.crowded:
            self.flush()
            if self._references.crowded:
                raise OSError(errno.EIO, "clusters that nobody uses cannot be freed")
        return self._references

    def _own_in_a_row(self, entries: Sequence[int], references: References) -> int:
        """How many of the first ``entries`` may be written where they are, as one."""
        count, in_a_row = 0, self._reader.in_a_row(entries)
        while count < in_a_row and self._is_own(entries[count], references):
            count += 1
        return count

    def _is_own(self, entry: int, references: References) -> bool:
        """Whether a cluster may be written where it is."""
        if entry & (COMPRESSED | ZERO) or not entry & OFFSET:
            return False
        return bool(entry & COPIED) or not references.is_shared(
            self._reader.place(entry) >> self._bits
        )

    def _write_elsewhere(
        self, offset: int, rest: list[memoryview], wanted: int, references: References
    ) -> tuple[int, list[memoryview]]:
        """Write what of ``rest`` fits to new clusters, at most ``wanted``: (where that ends, what
        is left). If there is a row of such writes, some clusters more are copied with it."""
        first, end = offset >> self._bits, offset + total(rest)
        ahead = self._streams.ahead(first)
        while True:
            new = self._take(first, wanted, ahead, references)
            stop = min(end, first + len(new.clusters) << self._bits)
            part, left = split(rest, stop - offset)
            try:
                self._write_new(new, offset, stop, part, references)
            except OSError:
                if not ahead:
                    raise
                ahead = 0  # there may be no room for more than needed, or the rest unreadable
            else:
                return stop, left

    def _take(self, first: int, wanted: int, ahead: int, references: References) -> _New:
        """New clusters for guest clusters from ``first`` on that need some, as many as lie in a
        row, at most ``wanted``, or ``ahead`` more."""
        most = min(max(wanted, HIDDEN_LIMIT >> self._bits), -(-self.size >> self._bits) - first)
        entries = self._tables.entries(first, min(wanted + ahead, most))
        count = 1
        while count < len(entries) and not self._is_own(entries[count], references):
            if count >= wanted and self._reader.is_blank(entries[count]):
                break  # nothing to copy
            count += 1
        clusters, fresh = references.allocate(count)
        return _New(first, clusters, array("Q", entries[: len(clusters)]), fresh)

    def _write_new(
        self, new: _New, offset: int, stop: int, part: list[memoryview], references: References
    ) -> None:
        """Write ``part`` from ``offset`` to ``stop`` to new clusters; then make them a part of the
        disk, or have that wait."""
        try:
            inside, content, hides = self._content(new, offset, stop, part)
            write_vector(self._fd, (new.clusters.start << self._bits) + inside, content)
            entries = [number << self._bits | COPIED for number in new.clusters]
            if hides:
                self._tables.hold(new.first, entries, references)
            else:
                self._tables.store(new.first, entries, references)
        except OSError:
            references.free_later(new.clusters)
            raise
        if hides:
            self._streams.hidden(range(new.first, new.first + len(entries)))
            self._waiting.append(new)
        else:
            self._release(new.old, references)

    def _content(
        self, new: _New, offset: int, stop: int, part: list[memoryview]
    ) -> tuple[int, list[memoryview], bool]:
        """What to write to new clusters for ``part``, and where inside them; and whether it hides
        something, and therefore has with it what the disk shows beside it."""
        start = new.first << self._bits
        limit = start + (len(new.clusters) << self._bits)
        if not new.fresh or not all(map(self._reader.is_blank, new.old)):
            head, tail, blank = self._hidden(start, offset, stop, limit)
            if not new.fresh or not blank:
                return 0, [head, *part, tail], True
        if offset == start:
            # Who begins a cluster mostly goes on, which is quicker where there are bytes already.
            return 0, [*part, memoryview(bytes(limit - stop))], False
        return offset - start, part, False

    def _name_waiting(self) -> None:
        """Make what was written to clusters that hide something a part of the disk. Raises
        OSError, and then what is left of it is forgotten."""
        references = self._references
        if not self._waiting or references is None:
            return
        try:
            self._file.flush()
            while self._waiting:
                new = self._waiting[0]
                self._tables.write(new.first, new.old)
                self._waiting.popleft()
                self._release(new.old, references)
        except OSError:
            for new in self._waiting:
                self._tables.drop(new.first, new.old)
                references.free_later(new.clusters)
            self._waiting.clear()
            raise

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

    def _release(self, entries: Sequence[int], references: References) -> None:
        """The tables name the clusters of ``entries`` no more."""
        for entry in entries:
            if entry & COMPRESSED:
                offset, length = packed_place(entry, self._bits)
                last = offset + length - 1 >> self._bits
                references.free_later(range(offset >> self._bits, last + 1))
            elif entry & OFFSET:
                references.free_later([self._reader.place(entry) >> self._bits])

    def discard(self, offset: int, length: int) -> None:
        """See `Block.discard`. Only whole clusters are worth it."""
        first = -(-offset // self._cluster) * self._cluster
        last = (offset + length) // self._cluster * self._cluster
        if first < last and self._can_drop:
            self._drop(first, last)

    def write_zeroes(self, offset: int, length: int, *, unmap: bool = False) -> None:
        """See `Block.write_zeroes`."""
        end = offset + length
        first = min(-(-offset // self._cluster) * self._cluster, end)
        last = max(end // self._cluster * self._cluster, first)
        if end == self.size:
            last = end
        if not self._can_drop:
            first = last = end
        self._write_zero_bytes(offset, first)
        if first < last:
            self._drop(first, last)
        self._write_zero_bytes(last, end)

    def _write_zero_bytes(self, start: int, stop: int) -> None:
        zeroes = memoryview(bytes(min(stop - start, self._cluster)))
        for offset in range(start, stop, self._cluster):
            self.writev(offset, [zeroes[: stop - offset]])

    @property
    def _can_drop(self) -> bool:
        """Whether a cluster that is gone can read as zeroes (version 2 has no mark for that)."""
        return self._header.version >= 3 or self._backing is None

    def _drop(self, start: int, stop: int) -> None:
        """Make whole clusters read as zeroes and give their space back."""
        gone = 0 if self._backing is None else ZERO
        first, last = start >> self._bits, -(-stop // self._cluster)
        while first < last:
            references = self._begin()
            self._name_waiting()
            old = list(self._tables.entries(first, last - first))
            if old.count(gone) < len(old):
                self._tables.store(first, [gone] * len(old), references)
                self._release(old, references)
            first += len(old)

    def flush(self) -> None:
        """See `Block.flush`."""
        references = self._references
        self._name_waiting()
        sure = self._tables_are_sure()
        self._file.flush()
        if references is not None and sure:
            references.flushed()

    def _tables_are_sure(self) -> bool:
        """Whether the file holds the tables that we think it holds."""
        try:
            self._pointers.mend()
        except OSError:
            return False
        return True

    def close(self) -> None:
        """See `Block.close`."""
        if self._closed:
            return
        self._closed = True
        try:
            self.flush()
            if self._references is not None and self._tables_are_sure():
                self._references.close()
        except OSError as error:
            self._file.log.host_error("the image could not be closed well", str(error))
        finally:
            self._file.close()
            if self._backing is not None:
                self._backing.close()
