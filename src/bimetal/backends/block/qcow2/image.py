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

from bimetal.backends.block.block import Block
from bimetal.backends.block.commands import repair_command
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.qcow2.compressed import Compressed
from bimetal.backends.block.qcow2.entries import COMPRESSED, COPIED, OFFSET, ZERO, packed_place
from bimetal.backends.block.qcow2.header import Header
from bimetal.backends.block.qcow2.pointers import Pointers
from bimetal.backends.block.qcow2.recovery import make_writable, mark_damaged
from bimetal.backends.block.qcow2.references import References
from bimetal.backends.block.qcow2.tables import Tables
from bimetal.backends.block.qcow2.words import DamagedImage, bad_image
from bimetal.backends.block.vector import read_vector, write_vector
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
        self._compressed = Compressed(file.fd, header.cluster_bits)
        self._damage = ""
        self._held = False
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

    # Reading

    def readv(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """See `Block.readv`."""
        rest = list(buffers)
        for entry, start, length in self._runs(offset, total(rest)):
            part, rest = split(rest, length)
            self._read_run(entry, start, part)

    def _runs(self, offset: int, length: int) -> Iterator[tuple[int, int, int]]:
        """Cut a range where clusters stop to lie in a row: (entry of the first, offset, length)."""
        end = offset + length
        while offset < end:
            first = offset >> self._bits
            entries = self._tables.entries(first, (end - 1 >> self._bits) - first + 1)
            count = self._in_a_row(entries)
            stop = min(end, first + count << self._bits)
            yield entries[0], offset, stop - offset
            offset = stop

    def _in_a_row(self, entries: Sequence[int]) -> int:
        """How many of ``entries`` can be read like the first, as one."""
        first = entries[0]
        if first & COMPRESSED:
            return 1
        step = 0 if first & ZERO or not first & OFFSET else self._cluster
        wanted, count = first, 0
        while count < len(entries) and (entries[count] ^ wanted) & ~COPIED == 0:
            count, wanted = count + 1, wanted + step
        return max(count, 1)

    def _read_run(self, entry: int, start: int, part: list[memoryview]) -> None:
        inside = start & self._cluster - 1
        if entry & COMPRESSED:
            _fill(part, self._compressed.unpack(entry)[inside:])
        elif entry & ZERO:
            _fill(part, b"")
        elif entry & OFFSET:
            read_vector(self._fd, self._place(entry) + inside, part)
        else:
            self._read_backing(start, part)

    def _read_backing(self, start: int, part: list[memoryview]) -> None:
        beyond = part
        if self._backing is not None and start < self._backing.size:
            covered, beyond = split(part, self._backing.size - start)
            self._backing.readv(start, covered)
        _fill(beyond, b"")

    def _place(self, entry: int) -> int:
        """Where in the file the cluster of ``entry`` lies."""
        offset = entry & OFFSET
        if offset & self._cluster - 1:
            raise bad_image(f"a cluster lies at {offset:#x}")
        return offset

    # Writing

    def writev(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """See `Block.writev`."""
        references = self._begin()
        rest, end = list(buffers), offset + total(buffers)
        try:
            while offset < end:
                first = offset >> self._bits
                entries = self._tables.entries(first, (end - 1 >> self._bits) - first + 1)
                own = self._own_in_a_row(entries, references)
                new = None if own else self._take(first, entries, references)
                stop = min(end, first + (own if new is None else len(new.clusters)) << self._bits)
                part, rest = split(rest, stop - offset)
                if new is None:
                    place = self._place(entries[0]) + (offset & self._cluster - 1)
                    write_vector(self._fd, place, part)
                else:
                    self._write_new(new, offset, stop, part, references)
                offset = stop
        finally:
            if self._waiting and not self._held:
                self._name_waiting()

    def hold(self) -> None:
        """Writes from now on belong together, until `settle`: what hides other bytes is flushed
        once for all of them, and until then none of them counts as done."""
        self._held = True

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
        count, in_a_row = 0, self._in_a_row(entries)
        while count < in_a_row and self._is_own(entries[count], references):
            count += 1
        return count

    def _is_own(self, entry: int, references: References) -> bool:
        """Whether a cluster may be written where it is."""
        if entry & (COMPRESSED | ZERO) or not entry & OFFSET:
            return False
        return bool(entry & COPIED) or not references.is_shared(self._place(entry) >> self._bits)

    def _take(self, first: int, entries: Sequence[int], references: References) -> _New:
        """New clusters for those of ``entries`` that need some, as many as lie in a row."""
        wanted = 1
        while wanted < len(entries) and not self._is_own(entries[wanted], references):
            wanted += 1
        clusters, fresh = references.allocate(wanted)
        return _New(first, clusters, array("Q", entries[: len(clusters)]), fresh)

    def _write_new(
        self, new: _New, offset: int, stop: int, part: list[memoryview], references: References
    ) -> None:
        """Write ``part`` from ``offset`` to ``stop`` to new clusters, and to the rest of them what
        the disk shows there; then make them a part of the disk, or have that wait."""
        start, inside = new.first << self._bits, offset & self._cluster - 1
        hides = False
        try:
            if not new.fresh or not all(map(self._is_blank, new.old)):
                head = self._shown(start, offset)
                tail = self._shown(stop, start + (len(new.clusters) << self._bits))
                blank = new.fresh and _is_zero(head) and _is_zero(tail)
                if not blank or not self._reads_zero(offset, stop):
                    part, inside, hides = [memoryview(head), *part, memoryview(tail)], 0, True
            write_vector(self._fd, (new.clusters.start << self._bits) + inside, part)
            entries = [number << self._bits | COPIED for number in new.clusters]
            if hides:
                self._tables.hold(new.first, entries, references)
                self._waiting.append(new)
            else:
                self._tables.store(new.first, entries, references)
                self._release(new.old, references)
        except OSError:
            references.free_later(new.clusters)
            raise

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

    def _is_blank(self, entry: int) -> bool:
        """Whether it is known without reading that a cluster is zero."""
        if entry & COMPRESSED:
            return False
        return bool(entry & ZERO) or (not entry & OFFSET and self._backing is None)

    def _reads_zero(self, start: int, stop: int) -> bool:
        """Whether the disk shows nothing but zeroes there, if that is worth a look."""
        try:
            return stop - start <= HIDDEN_LIMIT and _is_zero(self._shown(start, stop))
        except OSError:
            return False

    def _shown(self, start: int, stop: int) -> bytearray:
        """What the disk shows in a range, and zeroes behind its end."""
        data = bytearray(stop - start)
        if start < min(stop, self.size):
            self.readv(start, [memoryview(data)[: self.size - start]])
        return data

    def _release(self, entries: Sequence[int], references: References) -> None:
        """The tables name the clusters of ``entries`` no more."""
        for entry in entries:
            if entry & COMPRESSED:
                offset, length = packed_place(entry, self._bits)
                last = offset + length - 1 >> self._bits
                references.free_later(range(offset >> self._bits, last + 1))
            elif entry & OFFSET:
                references.free_later([self._place(entry) >> self._bits])

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


def _fill(buffers: Sequence[memoryview], data: bytes) -> None:
    """Copy ``data`` into ``buffers`` and zeroes into what it is too short for."""
    at = 0
    for buffer in buffers:
        piece = data[at : at + len(buffer)]
        buffer[: len(piece)] = piece
        if len(piece) < len(buffer):
            buffer[len(piece) :] = bytes(len(buffer) - len(piece))
        at += len(buffer)


def _is_zero(data: bytes | bytearray) -> bool:
    return data == bytes(len(data))
