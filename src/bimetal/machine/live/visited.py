"""An image of a disk in use, as somebody else reads it: the guest's requests wait meanwhile."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from bimetal.backends.block.block import Block, Extent
from bimetal.base.errors import BimetalError
from bimetal.machine.live.seat import Seat

__all__ = ["VisitedDisk"]

Result = TypeVar("Result")

EXTENTS_AT_ONCE = 256


class VisitedDisk(Block):
    """The image ``image`` as the disk at ``seat`` has it, as long as ``belongs`` is true, which is
    asked on each visit. It is only read, and not closed with this; after `close`, every request is
    an error."""

    readonly = True

    def __init__(self, seat: Seat, image: Block, belongs: Callable[[], bool]):
        self._seat, self._image, self._belongs = seat, image, belongs
        self.size, self.name = image.size, image.name
        self._closed = False

    def readv(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """See `Block.readv`."""
        self._visit(lambda: self._image.readv(offset, buffers))

    def writev(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """See `Block.writev`."""
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def discard(self, offset: int, length: int) -> None:
        """See `Block.discard`."""
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def write_zeroes(self, offset: int, length: int, *, unmap: bool = False) -> None:
        """See `Block.write_zeroes`."""
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def flush(self) -> None:
        """See `Block.flush`: nothing was written."""

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """See `Block.extents`."""
        end = offset + length
        while offset < end:
            found = self._visit(lambda at=offset: self._extents(at, end - at))  # type: ignore[misc]
            yield from found
            offset = found[-1].start + found[-1].length

    def close(self) -> None:
        """See `Block.close`."""
        self._closed = True

    def _extents(self, offset: int, length: int) -> list[Extent]:
        return [*islice(self._image.extents(offset, length), EXTENTS_AT_ONCE)]

    def _visit(self, job: Callable[[], Result]) -> Result:
        def work() -> Result:
            if self._closed or not self._belongs():
                raise OSError(errno.ESHUTDOWN, "the disk does not have this image any more")
            return job()

        try:
            return self._seat.visit(work)
        except BimetalError as error:  # the disk is gone
            raise OSError(errno.ESHUTDOWN, error.cause) from error
