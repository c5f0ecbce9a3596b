"""A disk that another machine still has, and that comes with the machine whose disk it is."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from typing import NoReturn

from bimetal.backends.block.block import Block
from bimetal.backends.block.file import ImageFile

__all__ = ["AwaitedDisk"]


class AwaitedDisk(Block):
    """Stands for the disk that ``opening`` opens once it is there. Until then it has the size, and
    what the image holds by now, of ``glimpse``, which was opened for reading without a lock."""

    def __init__(self, glimpse: Block, opening: Callable[[], Block]):
        self._glimpse, self._opening = glimpse, opening
        self.size, self.name, self.readonly = glimpse.size, glimpse.name, False

    def come(self) -> Block:
        """The disk. Raises `BimetalError` if it cannot be had: this may be asked for again, and
        nothing else."""
        self._glimpse.close()
        return self._opening()

    def readv(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """See `Block.readv`."""
        self._glimpse.readv(offset, buffers)

    def writev(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """Raises OSError: another machine writes."""
        self._refuse()

    def flush(self) -> None:
        """Nothing was written."""

    def discard(self, offset: int, length: int) -> None:
        """Raises OSError, as `writev`."""
        self._refuse()

    def write_zeroes(self, offset: int, length: int, *, unmap: bool = False) -> None:
        """Raises OSError, as `writev`."""
        self._refuse()

    def images(self) -> tuple[ImageFile, ...]:
        """See `Block.images`: those that it is going to have, not locked yet."""
        return self._glimpse.images()

    def close(self) -> None:
        """See `Block.close`."""
        self._glimpse.close()

    def _refuse(self) -> NoReturn:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
