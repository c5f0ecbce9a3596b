"""Raw images: a file, or a block device, whose bytes are the disk's bytes."""

from __future__ import annotations

from collections.abc import Sequence

from bimetal.backends.block.block import SECTOR, Block
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.holes import Holes
from bimetal.backends.block.vector import read_vector, write_vector
from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["RawImage"]

ZEROES = bytes(1 << 20)


class RawImage(Block):
    """The image in ``file``, which is closed with it.

    Writes go through the page cache of the host and are made safe by `flush`. Raises
    `BimetalError` for a size that no disk has.
    """

    def __init__(self, file: ImageFile):
        self.name, self.readonly, self.size = file.path, file.readonly, file.length
        if self.size % SECTOR:
            raise BimetalError(
                f"the disk image {self.name!r} has {self.size} bytes, not a whole number of "
                f"{SECTOR}-byte sectors: it may have been cut off",
                f"copy it again, or pad it: truncate -s %{SECTOR} {self.name}",
                ExitCode.DATA,
            )
        self._file, self._fd = file, file.fd
        self._holes = Holes(file.fd, block_device=file.block_device)

    def readv(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """See `Block.readv`."""
        read_vector(self._fd, offset, buffers)

    def writev(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """See `Block.writev`."""
        write_vector(self._fd, offset, buffers)

    def flush(self) -> None:
        """See `Block.flush` and `ImageFile.flush`."""
        self._file.flush()

    def discard(self, offset: int, length: int) -> None:
        """See `Block.discard`. Does nothing where the host cannot."""
        if length:
            self._holes.punch(offset, length)

    def write_zeroes(self, offset: int, length: int, *, unmap: bool = False) -> None:
        """See `Block.write_zeroes`."""
        if not length:
            return
        if unmap and not self._file.block_device and self._holes.punch(offset, length):
            return
        if self._holes.zero(offset, length):
            return
        zeroes = memoryview(ZEROES)
        for start in range(offset, offset + length, len(ZEROES)):
            write_vector(self._fd, start, [zeroes[: offset + length - start]])

    def close(self) -> None:
        """See `Block.close`. A failing flush is reported as an event of the host."""
        self._file.close()
