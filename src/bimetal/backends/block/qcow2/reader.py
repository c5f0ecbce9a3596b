"""What the disk shows: bytes of clusters in the file, compressed or not, of the backing file, or
zeroes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from bimetal.backends.block.block import Block, Extent
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.qcow2.compressed import Compressed
from bimetal.backends.block.qcow2.entries import COMPRESSED, COPIED, OFFSET, ZERO
from bimetal.backends.block.qcow2.header import Header
from bimetal.backends.block.qcow2.tables import Tables
from bimetal.backends.block.qcow2.words import bad_image
from bimetal.backends.block.vector import read_vector
from bimetal.base.buffers import split, total

__all__ = ["Reader"]


class Reader:
    """Reads the disk to which ``tables`` lead, and ``backing`` where they lead nowhere. Methods
    that read raise OSError."""

    def __init__(self, file: ImageFile, header: Header, tables: Tables, backing: Block | None):
        self._fd, self._size, self._tables, self._backing = file.fd, header.size, tables, backing
        self._path = file.path
        self._bits, self._cluster = header.cluster_bits, header.cluster
        self._compressed = Compressed(file.fd, header.cluster_bits)

    def readv(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """See `Block.readv`."""
        rest = list(buffers)
        for entry, start, length in self._runs(offset, total(rest)):
            part, rest = split(rest, length)
            self._read_run(entry, start, part)

    def shown(self, start: int, stop: int) -> memoryview:
        """What the disk shows in a range, and zeroes behind its end."""
        data = memoryview(bytearray(stop - start))
        if start < min(stop, self._size):
            self.readv(start, [data[: self._size - start]])
        return data

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """See `Block.extents`."""
        for entry, start, part in self._runs(offset, length):
            own = Extent(start, part, path=self._path)
            if entry & COMPRESSED:
                yield replace(own, compressed=True)
            elif entry & OFFSET:
                place = self.place(entry) + (start & self._cluster - 1)
                zero = bool(entry & ZERO)
                yield replace(own, data=not zero, zero=zero, offset=place)
            elif entry & ZERO:
                yield replace(own, data=False, zero=True)
            else:
                yield from self._extents_below(replace(own, data=False, zero=True, present=False))

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
        step = 0 if first & ZERO or not first & OFFSET else self._cluster
        wanted, count = first, 0
        while count < len(entries) and (entries[count] ^ wanted) & ~COPIED == 0:
            count, wanted = count + 1, wanted + step
        return max(count, 1)

    def place(self, entry: int) -> int:
        """Where in the file the cluster of ``entry`` lies."""
        offset = entry & OFFSET
        if offset & self._cluster - 1:
            raise bad_image(f"a cluster lies at {offset:#x}")
        return offset

    def is_blank(self, entry: int) -> bool:
        """Whether it is known without reading that a cluster is zero."""
        if entry & COMPRESSED:
            return False
        return bool(entry & ZERO) or (not entry & OFFSET and self._backing is None)

    def _runs(self, offset: int, length: int) -> Iterator[tuple[int, int, int]]:
        """Cut a range where clusters stop to lie in a row: (entry of the first, offset, length)."""
        end = offset + length
        while offset < end:
            first = offset >> self._bits
            entries = self._tables.entries(first, (end - 1 >> self._bits) - first + 1)
            count = self.in_a_row(entries)
            stop = min(end, first + count << self._bits)
            yield entries[0], offset, stop - offset
            offset = stop

    def _read_run(self, entry: int, start: int, part: list[memoryview]) -> None:
        inside = start & self._cluster - 1
        if entry & COMPRESSED:
            _fill(part, self._compressed.unpack(entry)[inside:])
        elif entry & ZERO:
            _fill(part, b"")
        elif entry & OFFSET:
            read_vector(self._fd, self.place(entry) + inside, part)
        else:
            self._read_backing(start, part)

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
