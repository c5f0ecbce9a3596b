"""What is converted: disks one behind the other, or one as a snapshot has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from bimetal.backends.block.block import Block, Extent
from bimetal.backends.block.qcow2.changes import find_snapshot, snapshot_tables
from bimetal.backends.block.qcow2.reader import Reader
from bimetal.backends.block.qcow2.tables import Tables
from bimetal.base.buffers import split, total
from bimetal.images.opening import qcow2

__all__ = ["Joined", "SnapshotDisk"]


class _ReadOnly(Block):
    """A disk that others own and that is only read here."""

    readonly = True

    def writev(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """Nothing is written."""
        raise AssertionError("a source is only read")

    def flush(self) -> None:
        """Nothing was written."""

    def discard(self, offset: int, length: int) -> None:
        """Nothing is written."""
        raise AssertionError("a source is only read")

    def write_zeroes(self, offset: int, length: int, *, unmap: bool = False) -> None:
        """Nothing is written."""
        raise AssertionError("a source is only read")

    def close(self) -> None:
        """Who opened it closes it."""


class Joined(_ReadOnly):
    """``disks``, one behind the other."""

    def __init__(self, disks: Sequence[Block]):
        self._disks = disks
        self.size = sum(disk.size for disk in disks)
        self.name = disks[0].name

    def readv(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """See `Block.readv`."""
        rest = list(buffers)
        for disk, start, length in self._parts(offset, total(buffers)):
            part, rest = split(rest, length)
            disk.readv(start, part)

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """See `Block.extents`."""
        for disk, start, part in self._parts(offset, length):
            for extent in disk.extents(start, part):
                yield replace(extent, start=offset + extent.start - start)
            offset += part

    def _parts(self, offset: int, length: int) -> Iterator[tuple[Block, int, int]]:
        """The parts of a range: disk, offset in it, length."""
        end, first = offset + length, 0
        for disk in self._disks:
            start, stop = max(offset, first), min(end, first + disk.size)
            if start < stop:
                yield disk, start - first, stop - start
            first += disk.size


class SnapshotDisk(_ReadOnly):
    """The disk in the qcow2 image ``disk`` as its snapshot ``key`` has it. Raises `BimetalError` if
    there is none, and OSError."""

    def __init__(self, disk: Block, key: str):
        image = qcow2(disk, "snapshots")
        snapshot = find_snapshot(image, key)
        tables = snapshot_tables(image, snapshot)
        header = replace(image.header, size=snapshot.size)
        tables = tables[: header.l1_needed] + [0] * (header.l1_needed - len(tables))
        self.size, self.name = snapshot.size, image.name
        lookup = Tables(image.file, header, image.pointers, tables)
        self._reader = Reader(image.file, header, lookup, image.places, image.backing)

    def readv(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """See `Block.readv`."""
        self._reader.readv(offset, buffers)

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """See `Block.extents`."""
        return self._reader.extents(offset, length)
