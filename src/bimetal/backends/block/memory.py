"""A disk in memory, for tests and for scratch disks whose content is not kept."""

from __future__ import annotations

from collections.abc import Sequence

from bimetal.backends.block.block import SECTOR, Block

__all__ = ["MemoryDisk"]


class MemoryDisk(Block):
    """A disk with the bytes of ``content``, or ``content`` zero bytes if that is a number."""

    def __init__(self, content: int | bytes, *, readonly: bool = False):
        self.name, self.readonly = "memory", readonly
        self.content = bytearray(content)
        self.size = len(self.content)
        if self.size == 0 or self.size % SECTOR:
            raise ValueError(f"a disk of {self.size} bytes is not a whole number of sectors")

    def readv(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """See `Block.readv`."""
        for buffer in buffers:
            buffer[:] = self.content[offset : offset + len(buffer)]
            offset += len(buffer)

    def writev(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """See `Block.writev`."""
        for buffer in buffers:
            memoryview(self.content)[offset : offset + len(buffer)] = buffer
            offset += len(buffer)

    def read_now(self, offset: int, buffers: Sequence[memoryview]) -> bool:
        """See `Block.read_now`."""
        self.readv(offset, buffers)
        return True

    def write_now(self, offset: int, buffers: Sequence[memoryview]) -> bool:
        """See `Block.write_now`."""
        self.writev(offset, buffers)
        return True

    @property
    def writes(self) -> bool:
        """See `Block.writes`: there is no file."""
        return False

    def flush(self) -> None:
        """Memory is as safe as it will ever be."""

    def discard(self, offset: int, length: int) -> None:
        """See `Block.discard`."""
        self.write_zeroes(offset, length)

    def write_zeroes(self, offset: int, length: int, *, unmap: bool = False) -> None:
        """See `Block.write_zeroes`."""
        memoryview(self.content)[offset : offset + length] = bytes(length)

    def close(self) -> None:
        """Nothing to give back; the content stays readable."""
