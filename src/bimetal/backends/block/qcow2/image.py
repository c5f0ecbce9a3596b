"""The disk in a qcow2 image."""

from __future__ import annotations

import os
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence

from bimetal.backends.block.block import Block
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.qcow2.header import AUTOCLEAR_AT, Header
from bimetal.backends.block.qcow2.references import References
from bimetal.backends.block.qcow2.tables import COMPRESSED, COPIED, OFFSET, ZERO, Tables
from bimetal.backends.block.qcow2.words import bad_image, write_all
from bimetal.backends.block.vector import read_vector, write_vector
from bimetal.base.buffers import split, total
from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["Qcow2Image"]

UNPACKED = 16
"""Compressed clusters kept in memory unpacked: guests read them piece by piece."""


class Qcow2Image(Block):
    """The disk of which ``header`` is the header of ``file``, over ``backing``, if that is named.

    Closes both. Raises `BimetalError` if it cannot be written though ``file`` may.
    """

    def __init__(self, file: ImageFile, header: Header, backing: Block | None = None):
        self.name, self.readonly, self.size = file.path, file.readonly, header.size
        self._file, self._fd, self._header, self._backing = file, file.fd, header, backing
        self._bits, self._cluster = header.cluster_bits, header.cluster
        self._references = None if file.readonly else self._writable()
        self._tables = Tables(file, header, self._references)
        self._unpacked: OrderedDict[int, bytes] = OrderedDict()
        self._closed = False

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
            _fill(part, self._unpack(entry)[inside:])
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

    def _packed(self, entry: int) -> tuple[int, int]:
        """Where in the file the bytes of a compressed cluster lie, and how many at most."""
        split_at = 62 - (self._bits - 8)
        offset = entry & (1 << split_at) - 1
        sectors = (entry & COMPRESSED - 1) >> split_at
        return offset, (sectors + 1) * 512 - offset % 512

    def _unpack(self, entry: int) -> bytes:
        """The bytes of a compressed cluster."""
        key = entry & ~COPIED
        data = self._unpacked.get(key)
        if data is None:
            offset, length = self._packed(entry)
            packed = os.pread(self._fd, length, offset)
            try:
                data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, self._cluster)
            except zlib.error as error:
                raise bad_image(f"a compressed cluster at {offset:#x}: {error}") from error
            if len(data) != self._cluster:
                raise bad_image(f"a compressed cluster at {offset:#x} is too short")
            self._unpacked[key] = data
            if len(self._unpacked) > UNPACKED:
                self._unpacked.popitem(last=False)
        return data

    # Writing

    def writev(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """See `Block.writev`."""
        rest, end = list(buffers), offset + total(buffers)
        while offset < end:
            first = offset >> self._bits
            entries = self._tables.entries(first, (end - 1 >> self._bits) - first + 1)
            own = 0
            in_a_row = self._in_a_row(entries)
            while own < in_a_row and self._is_own(entries[own]):
                own += 1
            if own:
                stop = min(end, first + own << self._bits)
                part, rest = split(rest, stop - offset)
                place = self._place(entries[0]) + (offset & self._cluster - 1)
                write_vector(self._fd, place, part)
            else:
                stop, rest = self._write_new(offset, end, entries, rest)
            offset = stop

    def _is_own(self, entry: int) -> bool:
        """Whether a cluster may be written where it is."""
        if entry & (COMPRESSED | ZERO) or not entry & OFFSET:
            return False
        if entry & COPIED:
            return True
        assert self._references is not None
        return not self._references.is_shared(self._place(entry) >> self._bits)

    def _write_new(
        self, offset: int, end: int, entries: Sequence[int], rest: list[memoryview]
    ) -> tuple[int, list[memoryview]]:
        """Write to clusters that must be new, as many as lie in a row in the file; the offset
        behind them, and what is left to write.

        The data is in the file before the tables name it, so that a crash shows old bytes or new
        ones. Clusters written in part are filled up with what the disk shows there.
        """
        assert self._references is not None
        first, cluster = offset >> self._bits, self._cluster
        wanted = 1
        while wanted < len(entries) and not self._is_own(entries[wanted]):
            wanted += 1
        new = self._references.allocate(wanted)
        stop = min(end, first + len(new) << self._bits)
        part, rest = split(rest, stop - offset)
        head = self._shown(first << self._bits, offset)
        tail = self._shown(stop, min(first + len(new) << self._bits, self.size))
        write_vector(self._fd, new.start << self._bits, [*head, *part, *tail])
        old = list(entries[: len(new)])
        self._tables.store(first, [number * cluster | COPIED for number in new])
        self._release(old)
        return stop, rest

    def _shown(self, start: int, stop: int) -> list[memoryview]:
        """What the disk shows in a range, in one buffer."""
        if start >= stop:
            return []
        data = memoryview(bytearray(stop - start))
        self.readv(start, [data])
        return [data]

    def _release(self, entries: Sequence[int]) -> None:
        """The tables name the clusters of ``entries`` no more."""
        assert self._references is not None
        for entry in entries:
            if entry & COMPRESSED:
                offset, length = self._packed(entry)
                clusters = range(offset >> self._bits, (offset + length - 1 >> self._bits) + 1)
            elif entry & OFFSET:
                number = self._place(entry) >> self._bits
                clusters = range(number, number + 1)
            else:
                continue
            for number in clusters:
                self._references.free_later(number)

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
            old = list(self._tables.entries(first, last - first))
            if old.count(gone) < len(old):
                self._tables.store(first, [gone] * len(old))
                self._release(old)
            first += len(old)

    def flush(self) -> None:
        """See `Block.flush`."""
        self._file.flush()
        if self._references is not None:
            self._references.flushed()

    def close(self) -> None:
        """See `Block.close`."""
        if self._closed:
            return
        self._closed = True
        try:
            self.flush()
            if self._references is not None:
                self._references.close()
        except OSError as error:
            self._file.log.host_error("the image could not be closed well", str(error))
        finally:
            self._file.close()
            if self._backing is not None:
                self._backing.close()

    def _writable(self) -> References:
        """Check that the image may be written, and tell other programs what we do not keep."""
        header = self._header
        if header.unclean or header.reference_bits != 16:
            why = (
                "was not closed well"
                if header.unclean
                else f"has reference counts of {header.reference_bits} bits"
            )
            raise BimetalError(
                f"the qcow2 image {self.name!r} {why}",
                "repair it (qemu-img check -r all), or open it with readonly or snapshot",
                ExitCode.DATA,
            )
        try:
            if header.version >= 3 and header.autoclear:
                write_all(self._fd, bytes(8), AUTOCLEAR_AT)
            return References(self._file, header)
        except OSError as error:
            raise BimetalError(
                f"the qcow2 image {self.name!r} cannot be written: {error}", "", ExitCode.DATA
            ) from error


def _fill(buffers: Sequence[memoryview], data: bytes) -> None:
    """Copy ``data`` into ``buffers`` and zeroes into what it is too short for."""
    at = 0
    for buffer in buffers:
        piece = data[at : at + len(buffer)]
        buffer[: len(piece)] = piece
        if len(piece) < len(buffer):
            buffer[len(piece) :] = bytes(len(buffer) - len(piece))
        at += len(buffer)
