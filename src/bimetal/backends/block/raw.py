"""Raw images: a file, or a block device, whose bytes are the disk's bytes."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence

from bimetal.backends.block.bitmaps import Bitmaps
from bimetal.backends.block.block import SECTOR, Block, Extent, Span
from bimetal.backends.block.commands import quoted
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.holes import Holes, runs
from bimetal.backends.block.remembered import remember_raw, was_raw
from bimetal.backends.block.vector import ZEROES, read_vector, write_vector
from bimetal.base.bits import align_up
from bimetal.base.buffers import split, total
from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["RawImage"]


class RawImage(Block):
    """The image in ``file``, which is closed with it.

    Writes go through the page cache of the host and are made safe by `flush`. A file that ends
    inside a sector has zeroes behind its end, if it is only read. Raises `BimetalError` for one
    that is to be written: it would have to become longer.
    """

    alone = False
    bitmaps: Bitmaps

    def __init__(self, file: ImageFile):
        self.name, self.readonly, self._length = file.path, file.readonly, file.length
        self.size = align_up(file.length, SECTOR)
        if not file.readonly:
            self._check_whole()
        self._file, self._fd = file, file.fd
        self._holes = Holes(file.fd, block_device=file.block_device)
        self.bitmaps = Bitmaps(self.size)

    def _check_whole(self) -> None:
        if self.size != self._length:
            raise BimetalError(
                f"the disk image {self.name!r} has {self._length} bytes, not a whole number of "
                f"{SECTOR}-byte sectors: it may have been cut off",
                "copy it again, open it with readonly or snapshot, or make it longer: "
                f"truncate -s %{SECTOR} {quoted(self.name)}",
                ExitCode.DATA,
            )

    def readv(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """See `Block.readv`."""
        if offset + total(buffers) > self._length:
            buffers, beyond = split(buffers, max(self._length - offset, 0))
            for buffer in beyond:
                buffer[:] = bytes(len(buffer))
        read_vector(self._fd, offset, buffers)

    def writev(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """See `Block.writev`."""
        if self.bitmaps.recording:
            self.bitmaps.mark(offset, total(buffers))
        write_vector(self._fd, offset, buffers)

    def flush(self) -> None:
        """See `Block.flush` and `ImageFile.flush`."""
        self._file.flush()

    def spans(self, offset: int, buffers: Sequence[memoryview]) -> Sequence[Span] | None:
        """See `Block.spans`."""
        if offset + total(buffers) > self._length:
            return None
        return (Span(self._file.prompt, offset, buffers),)

    def read_now(self, offset: int, buffers: Sequence[memoryview]) -> bool:
        """See `Block.read_now`."""
        return offset + total(buffers) <= self._length and self._file.prompt(offset, buffers)

    def write_now(self, offset: int, buffers: Sequence[memoryview]) -> bool:
        """See `Block.write_now`: the host takes what is written into its memory."""
        self.writev(offset, buffers)
        return True

    def flushing(self) -> Callable[[], None] | None:
        """See `Block.flushing`."""
        return self._file.flushing()

    def files(self) -> tuple[str, ...]:
        """See `Block.files`."""
        return (self._file.path,)

    def images(self) -> tuple[ImageFile, ...]:
        """See `Block.images`."""
        return (self._file,)

    def discard(self, offset: int, length: int) -> None:
        """See `Block.discard`. Does nothing where the host cannot."""
        if length:
            self.bitmaps.mark(offset, length)
            self._holes.punch(offset, length)

    def write_zeroes(self, offset: int, length: int, *, unmap: bool = False) -> None:
        """See `Block.write_zeroes`."""
        if not length:
            return
        self.bitmaps.mark(offset, length)
        if unmap and not self._file.block_device and self._holes.punch(offset, length):
            return
        if self._holes.zero(offset, length):
            return
        zeroes = memoryview(ZEROES)
        for start in range(offset, offset + length, len(ZEROES)):
            write_vector(self._fd, start, [zeroes[: offset + length - start]])

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """See `Block.extents`: holes of the file are zeroes."""
        for start, stop, data in runs(self._fd, offset, offset + length):
            yield Extent(
                start, stop - start, data=data, zero=not data, offset=start, path=self.name
            )

    def unseal(self) -> None:
        """See `Block.unseal`."""
        self._check_whole()
        self._file.unseal()
        remember_raw(self._file)
        self.readonly = False

    def seal(self) -> None:
        """See `Block.seal`."""
        self._file.seal()
        self.readonly = True

    def resize(self, size: int) -> None:
        """Make the disk ``size`` bytes long; what is new is zero. Raises OSError."""
        if self._file.block_device:
            raise OSError(errno.EINVAL, "a block device has the size that it has")
        raw_before = was_raw(self._file)
        os.ftruncate(self._fd, size)
        self._file.refresh()
        self._length = self.size = size
        self.bitmaps.resize(size)
        if raw_before:
            remember_raw(self._file)

    def preallocate(self, start: int, stop: int, *, full: bool) -> None:
        """Take space of the host for a part of the disk that is zero. Raises OSError."""
        if not full:
            os.posix_fallocate(self._fd, start, stop - start)
            return
        zeroes = memoryview(ZEROES)
        for at in range(start, stop, len(ZEROES)):
            write_vector(self._fd, at, [zeroes[: stop - at]])

    def close(self) -> None:
        """See `Block.close`. A failing flush is reported as an event of the host."""
        self._file.close()
