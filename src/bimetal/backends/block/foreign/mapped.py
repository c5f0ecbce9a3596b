"""Disks that are only read, and whose pieces lie here and there in files."""

from __future__ import annotations

import errno
import os
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence

from bimetal.backends.block.block import SECTOR, Block, Extent, Span
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.foreign.fields import damaged
from bimetal.backends.block.qcow2.words import bad_image
from bimetal.backends.block.vector import read_vector
from bimetal.base.buffers import split, total

__all__ = ["MappedImage", "Source"]

Source = tuple[ImageFile, int] | Callable[[], bytes] | None
"""Where bytes of the disk are: at a place in a file, or what unpacks them; None if they are
zeroes."""

SIZE_LIMIT = 1 << 60
"""No image has more bytes, so that no sum of places overflows what the host can address."""


class MappedImage(Block):
    """The image in ``file``, of ``size`` bytes, which is closed with it."""

    readonly = True

    def __init__(self, file: ImageFile, size: int):
        if not 0 < size <= SIZE_LIMIT or size % SECTOR:
            raise damaged(file, f"its disk has {size} bytes")
        self.name, self.size, self.file = file.path, size, file

    @abstractmethod
    def runs(self, offset: int, length: int) -> Iterator[tuple[Source, int]]:
        """Where the bytes from ``offset`` on are, piece by piece: (source, length of the piece).
        Raises OSError where the image contradicts itself."""

    def readv(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """See `Block.readv`."""
        rest = list(buffers)
        for source, length in self.runs(offset, total(rest)):
            part, rest = split(rest, length)
            if isinstance(source, tuple):
                file, place = source
                if place + length > file.length:
                    raise bad_image(f"there is nothing at {place:#x}")
                read_vector(file.fd, place, part)
            else:
                _fill(part, source() if source else b"")

    def spans(self, offset: int, buffers: Sequence[memoryview]) -> Sequence[Span] | None:
        """See `Block.spans`. The tables are small, and read at once."""
        rest, spans = list(buffers), list[Span]()
        for source, length in self.runs(offset, total(rest)):
            part, rest = split(rest, length)
            if source is None:
                _fill(part, b"")
            elif isinstance(source, tuple):
                spans.append(Span(source[0].prompt, source[1], part))
            else:
                return None
        return spans

    def files(self) -> tuple[str, ...]:
        """See `Block.files`; those that the image names besides are known by its extents."""
        named = (extent.path for extent in self.extents(0, self.size))
        return tuple(dict.fromkeys((self.file.path, *named)))

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """See `Block.extents`."""
        for source, count in self.runs(offset, length):
            if source is None:
                yield Extent(offset, count, data=False, zero=True, present=False, path=self.name)
            elif isinstance(source, tuple):
                yield Extent(offset, count, offset=source[1], path=source[0].path)
            else:
                yield Extent(offset, count, compressed=True, path=self.name)
            offset += count

    def writev(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """Raises OSError: the format is only read."""
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def flush(self) -> None:
        """Nothing was written."""

    def flushing(self) -> None:
        """Nothing is to be done."""

    def discard(self, offset: int, length: int) -> None:
        """Raises OSError: the format is only read."""
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def write_zeroes(self, offset: int, length: int, *, unmap: bool = False) -> None:
        """Raises OSError: the format is only read."""
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def close(self) -> None:
        """See `Block.close`."""
        self.file.close()


def _fill(buffers: Sequence[memoryview], data: bytes) -> None:
    """Copy ``data`` into ``buffers``, or zeroes if there is none."""
    at = 0
    for buffer in buffers:
        buffer[:] = data[at : at + len(buffer)] if data else bytes(len(buffer))
        at += len(buffer)
