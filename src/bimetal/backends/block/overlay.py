"""A temporary layer over a disk: what the guest writes is forgotten when the machine closes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from io import FileIO

from bimetal.backends.block.block import Block, Span
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.holes import Holes
from bimetal.backends.block.vector import PromptReader, read_vector, write_vector
from bimetal.base.buffers import split, total
from bimetal.base.errors import BimetalError
from bimetal.base.sizes import format_size

__all__ = ["CLUSTER", "Overlay"]

CLUSTER = 64 << 10
"""Bytes that move up into the layer together, at the first write to any of them."""

PAGE = 4096
"""Bytes of the layer that a snapshot keeps together."""


class Overlay(Block):
    """``base``, which is never written, under a sparse temporary file that has no name.

    The file lies at the same offsets as the base; ``_owned`` has a byte for each cluster, 1 if
    the file has it. Closing the overlay closes the base. Raises `BimetalError` if there is no
    place for the file.
    """

    def __init__(self, base: Block):
        self.base = base
        self.size, self.readonly = base.size, False
        try:
            self._owned = bytearray((base.size + CLUSTER - 1) // CLUSTER)
            self._file = _temporary_file(base.size)
        except (OSError, MemoryError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is too large"
            raise BimetalError(
                f"no temporary file of {format_size(base.size)} for a snapshot: {reason}",
                "set TMPDIR to a folder with space on a file system that has sparse files, or lay "
                "an image over the disk: qemu-img create -f qcow2 -F FORMAT -b DISK IMAGE",
            ) from error
        self.name = f"{base.name} (snapshot in {tempfile.gettempdir()})"
        self._fd = self._file.fileno()
        self._holes, self._prompt = Holes(self._fd, block_device=False), PromptReader(self._fd)

    def readv(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """See `Block.readv`."""
        rest = list(buffers)
        for owned, start, length in self._runs(offset, total(rest)):
            part, rest = split(rest, length)
            if owned:
                read_vector(self._fd, start, part)
            else:
                self.base.readv(start, part)

    def writev(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """See `Block.writev`."""
        length = total(buffers)
        self._take_edges(offset, length)
        write_vector(self._fd, offset, buffers)
        self._own(offset, length)

    def spans(self, offset: int, buffers: Sequence[memoryview]) -> Sequence[Span] | None:
        """See `Block.spans`."""
        rest, spans = list(buffers), list[Span]()
        for owned, start, length in self._runs(offset, total(rest)):
            part, rest = split(rest, length)
            below = (Span(self._prompt, start, part),) if owned else self.base.spans(start, part)
            if below is None:
                return None
            spans += below
        return spans

    def write_now(self, offset: int, buffers: Sequence[memoryview]) -> bool:
        """See `Block.write_now`: at once unless something has to be copied up first."""
        if next(self._to_take(offset, total(buffers)), None) is not None:
            return False
        self.writev(offset, buffers)
        return True

    def flushing(self) -> None:
        """Nothing is to be done."""

    def flush(self) -> None:
        """Nothing to keep: after a crash of the host the layer is gone in any case."""

    def discard(self, offset: int, length: int) -> None:
        """See `Block.discard`. Only whole clusters are worth it."""
        first = -(-offset // CLUSTER) * CLUSTER
        last = (offset + length) // CLUSTER * CLUSTER
        if first < last:
            self.write_zeroes(first, last - first, unmap=True)

    def write_zeroes(self, offset: int, length: int, *, unmap: bool = False) -> None:
        """See `Block.write_zeroes`."""
        if not length:
            return
        self._take_edges(offset, length)
        if not self._holes.punch(offset, length):
            zeroes = memoryview(bytes(min(length, CLUSTER)))
            for start in range(offset, offset + length, CLUSTER):
                write_vector(self._fd, start, [zeroes[: offset + length - start]])
        self._own(offset, length)

    @property
    def writes(self) -> bool:
        """See `Block.writes`: only its layer is written."""
        return False

    def files(self) -> tuple[str, ...]:
        """See `Block.files`: those of the base."""
        return self.base.files()

    def images(self) -> tuple[ImageFile, ...]:
        """See `Block.images`: those of the base."""
        return self.base.images()

    # The layer as an area of memory, for snapshots of a machine

    def contents(self) -> Iterator[tuple[int, bytes]]:
        """Page by page what the layer has, or one below it, zeroes too. Raises OSError."""
        for cluster in range(len(self._owned)):
            if self._has(cluster):
                start = cluster * CLUSTER
                data = self.read(start, min(CLUSTER, self.size - start))
                for at in range(0, len(data), PAGE):
                    yield (start + at) // PAGE, data[at : at + PAGE].ljust(PAGE, b"\0")

    def _has(self, cluster: int) -> bool:
        below = self.base
        return bool(self._owned[cluster]) or (isinstance(below, Overlay) and below._has(cluster))

    # Copies of the machine, which share what was written before

    def stacked(self) -> Overlay:
        """A disk of the same content whose layer lies on this one, if that has anything. Raises
        `BimetalError`."""
        return Overlay(self) if any(self._owned) else self

    def copied(self) -> Overlay:
        """Another layer on the same base. Raises `BimetalError`."""
        return Overlay(self.base)

    def clear(self) -> None:
        """Forget what was written."""
        self._owned[:] = bytes(len(self._owned))
        os.truncate(self._fd, 0)
        os.truncate(self._fd, self.size)

    def put(self, number: int, page: bytes) -> None:
        """Have the layer hold a page. Raises OSError."""
        at = number * PAGE
        self.writev(at, [memoryview(page)[: self.size - at]])

    def close(self) -> None:
        """See `Block.close`. Forgets what was written."""
        self._file.close()
        self.base.close()

    def _runs(self, offset: int, length: int) -> Iterator[tuple[bool, int, int]]:
        """Cut a range where the owner changes: (whether the layer has it, offset, length)."""
        end = offset + length
        while offset < end:
            cluster = offset // CLUSTER
            owned = self._owned[cluster]
            last = -(-end // CLUSTER)
            change = self._owned.find(owned ^ 1, cluster, last)
            stop = end if change < 0 else min(end, change * CLUSTER)
            yield bool(owned), offset, stop - offset
            offset = stop

    def _take_edges(self, offset: int, length: int) -> None:
        """Copy up the clusters that a write covers only in part: the first and the last."""
        for cluster in self._to_take(offset, length):
            self._copy_up(cluster)

    def _to_take(self, offset: int, length: int) -> Iterator[int]:
        for edge in {offset, offset + length}:
            if edge % CLUSTER and not self._owned[edge // CLUSTER]:
                yield edge // CLUSTER

    def _copy_up(self, cluster: int) -> None:
        start = cluster * CLUSTER
        data = memoryview(bytearray(min(CLUSTER, self.size - start)))
        self.base.readv(start, [data])
        write_vector(self._fd, start, [data])
        self._owned[cluster] = 1

    def _own(self, offset: int, length: int) -> None:
        first, last = offset // CLUSTER, -(-(offset + length) // CLUSTER)
        self._owned[first:last] = b"\1" * (last - first)


def _temporary_file(size: int) -> FileIO:
    """A file of ``size`` zero bytes that takes no space yet and vanishes when it is closed."""
    fd, path = tempfile.mkstemp(prefix="bimetal-")
    try:
        os.unlink(path)
        os.truncate(fd, size)
    except OSError:
        os.close(fd)
        raise
    return FileIO(fd, "r+b")
