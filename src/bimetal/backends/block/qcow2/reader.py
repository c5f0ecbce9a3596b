"""What the disk shows: bytes of clusters in the file, compressed or not, of the backing file, or
zeroes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from bimetal.backends.block.block import Block, Extent, Span
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.qcow2.compressed import Compressed
from bimetal.backends.block.qcow2.entries import (
    ALL_ZERO,
    COMPRESSED,
    COPIED,
    EMPTY,
    OFFSET,
    WORD,
    ZERO,
    subcluster,
    uniform,
)
from bimetal.backends.block.qcow2.header import SUBCLUSTERS, Header
from bimetal.backends.block.qcow2.places import Outside, Places
from bimetal.backends.block.qcow2.tables import Tables
from bimetal.backends.block.qcow2.words import bad_image
from bimetal.backends.block.vector import read_vector
from bimetal.base.buffers import split, total

__all__ = ["Reader"]


class Reader:
    """Reads the disk to which ``tables`` lead, and ``backing`` where they lead nowhere. Methods
    that read raise OSError."""

    def __init__(
        self,
        file: ImageFile,
        header: Header,
        tables: Tables,
        places: Places,
        backing: Block | None,
    ):
        self._places, self._path, self._header = places, file.path, header
        self._tables, self._backing = tables, backing
        self._bits, self._cluster = header.cluster_bits, header.cluster
        self._extended = header.entry_words == 2
        self._subcluster = header.cluster // SUBCLUSTERS
        self._there, self._outside = places.there, isinstance(places, Outside)
        self._step_mask = -1 if places.there & COPIED else ~COPIED
        self._compressed = Compressed(file.fd, header)

    def lie_on(self, backing: Block | None) -> None:
        """Read ``backing`` from now on where the tables lead nowhere."""
        self._backing = backing

    def readv(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """See `Block.readv`."""
        rest = list(buffers)
        for entry, start, length in self._runs(offset, total(rest)):
            part, rest = split(rest, length)
            self._read_run(entry, start, part)

    def spans(self, offset: int, buffers: Sequence[memoryview]) -> Sequence[Span] | None:
        """See `Block.spans`."""
        length = total(buffers)
        first, last = offset >> self._bits, offset + length - 1 >> self._bits
        if not self._tables.has(first, last):
            return None
        if first == last and not self._extended:  # as usual
            return self._spans_of_run(self._tables.entries(first, 1)[0], offset, buffers)
        rest, spans = list(buffers), list[Span]()
        for entry, start, size in self._runs(offset, length):
            part, rest = split(rest, size)
            found = self._spans_of_run(entry, start, part)
            if found is None:
                return None
            spans += found
        return spans

    def _spans_of_run(
        self, entry: int, start: int, part: Sequence[memoryview]
    ) -> Sequence[Span] | None:
        if entry & COMPRESSED:
            return None
        if entry & ZERO:
            _fill(part, b"")
            return ()
        if entry & self._there and not entry & EMPTY:
            place, file = self.place(entry, start), self._places.file
            if self._outside and place + total(part) > file.length:
                return None
            return (Span(file.prompt, place, part),)
        if self._backing is None:
            _fill(part, b"")
            return ()
        if start + total(part) > self._backing.size:
            return None
        return self._backing.spans(start, part)

    def shown(self, start: int, stop: int) -> memoryview:
        """What the disk shows in a range, and zeroes behind its end."""
        data = memoryview(bytearray(stop - start))
        if start < min(stop, self._header.size):
            self.readv(start, [data[: self._header.size - start]])
        return data

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """See `Block.extents`."""
        for entry, start, part in self._runs(offset, length):
            own = Extent(start, part, path=self._path)
            if entry & COMPRESSED:
                yield replace(own, compressed=True)
            elif entry & self._there and not entry & EMPTY:
                place = self.place(entry, start)
                zero, path = bool(entry & ZERO), self._places.path
                yield replace(own, data=not zero, zero=zero, offset=place, path=path)
            elif entry & ZERO:
                yield replace(own, data=False, zero=True)
            else:
                blank = replace(own, data=False, zero=True, present=False)
                if entry & self._there and self._backing is None:
                    blank = replace(blank, offset=self.place(entry, start))
                yield from self._extents_below(blank)

    def _extents_below(self, blank: Extent) -> Iterator[Extent]:
        """Those of the backing file, and ``blank`` where there is none."""
        stop = blank.start
        if self._backing is not None and blank.start < self._backing.size:
            stop = min(blank.stop, self._backing.size)
            for extent in self._backing.extents(blank.start, stop - blank.start):
                yield replace(extent, depth=extent.depth + 1)
        if stop < blank.stop:
            yield replace(blank, start=stop, length=blank.stop - stop)

    def in_a_row(self, entries: Sequence[int]) -> int:
        """How many of ``entries`` can be read like the first, as one."""
        first = entries[0]
        if first & COMPRESSED:
            return 1
        step = 0 if first & ZERO or not first & self._there else self._cluster
        wanted, count = first, 0
        while count < len(entries) and (entries[count] ^ wanted) & self._step_mask == 0:
            count, wanted = count + 1, wanted + step
        return max(count, 1)

    def place(self, entry: int, start: int) -> int:
        """Where in the file the bytes of the disk at ``start`` lie, in the cluster of ``entry``."""
        offset, inside = entry & OFFSET, start & self._cluster - 1
        if offset & self._cluster - 1 or (self._outside and offset + inside != start):
            raise bad_image(f"the cluster of {start:#x} lies at {offset:#x}")
        return offset + inside

    def is_blank(self, entry: int) -> bool:
        """Whether it is known without reading that a cluster is zero."""
        if entry & COMPRESSED:
            return False
        if self._extended:
            return entry & ALL_ZERO == ALL_ZERO or (entry >> 64 == 0 and self._backing is None)
        return bool(entry & ZERO) or (not entry & self._there and self._backing is None)

    def _runs(self, offset: int, length: int) -> Iterator[tuple[int, int, int]]:
        """Cut a range where clusters stop to lie in a row: (plain entry of the first, offset,
        length)."""
        end = offset + length
        while offset < end:
            first = offset >> self._bits
            entries = self._tables.entries(first, (end - 1 >> self._bits) - first + 1)
            entry: int | None = entries[0]
            if self._extended:
                entry = uniform(entries[0])
            if entry is None:
                stop = min(end, first + 1 << self._bits)
                yield from self._parts(entries[0], offset, stop)
            else:
                stop = min(end, first + self.in_a_row(entries) << self._bits)
                yield entry, offset, stop - offset
            offset = stop

    def _parts(self, entry: int, offset: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Cut a part of a cluster where its subclusters differ."""
        inside, size = self._cluster - 1, self._subcluster
        while offset < end:
            number = (offset & inside) // size
            plain, stop = subcluster(entry, number), offset - offset % size + size
            while stop < end and subcluster(entry, (stop & inside) // size) == plain:
                stop += size
            stop = min(stop, end)
            yield plain & WORD, offset, stop - offset
            offset = stop

    def _read_run(self, entry: int, start: int, part: list[memoryview]) -> None:
        inside = start & self._cluster - 1
        if entry & COMPRESSED:
            _fill(part, self._compressed.unpack(entry)[inside:])
        elif entry & ZERO:
            _fill(part, b"")
        elif entry & self._there and not entry & EMPTY:
            self._read_plain(self.place(entry, start), part)
        else:
            self._read_backing(start, part)

    def _read_plain(self, place: int, part: list[memoryview]) -> None:
        if self._outside and place + total(part) > self._places.file.length:
            part, beyond = split(part, max(self._places.file.length - place, 0))
            _fill(beyond, b"")
        read_vector(self._places.fd, place, part)

    def _read_backing(self, start: int, part: list[memoryview]) -> None:
        beyond = part
        if self._backing is not None and start < self._backing.size:
            covered, beyond = split(part, self._backing.size - start)
            self._backing.readv(start, covered)
        _fill(beyond, b"")


def _fill(buffers: Sequence[memoryview], data: bytes) -> None:
    """Copy ``data`` into ``buffers`` and zeroes into what it is too short for."""
    at = 0
    for buffer in buffers:
        piece = data[at : at + len(buffer)]
        buffer[: len(piece)] = piece
        if len(piece) < len(buffer):
            buffer[len(piece) :] = bytes(len(buffer) - len(piece))
        at += len(buffer)
