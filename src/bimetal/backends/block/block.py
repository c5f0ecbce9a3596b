"""What every block back end offers, and the little that all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

__all__ = ["SECTOR", "Block"]

SECTOR = 512
"""Bytes in a sector: the unit of a disk's size, whatever its physical blocks are."""


class Block(ABC):
    """``size`` bytes, a multiple of 512, that keep what is written to them.

    Offsets and lengths are bytes and stay within the size: the device checks what the guest asks
    for. Every method raises OSError if the host fails, in which case the data in question is
    undefined, and everything else is as it was.
    """

    size: int
    readonly: bool
    name: str

    @abstractmethod
    def readv(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """Fill ``buffers``, one after the other, with the bytes from ``offset`` on."""

    @abstractmethod
    def writev(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """Store the bytes of ``buffers``, one after the other, from ``offset`` on. They are safe
        from a crash of the host only after `flush`."""

    @abstractmethod
    def flush(self) -> None:
        """Return once all that was written before is safe from a crash of the host."""

    @abstractmethod
    def discard(self, offset: int, length: int) -> None:
        """The guest needs these bytes no more: their space may be given back, and they may read
        as anything that was once there, or as zeroes."""

    @abstractmethod
    def write_zeroes(self, offset: int, length: int, *, unmap: bool = False) -> None:
        """Make these bytes zero; with ``unmap`` their space may be given back."""

    @abstractmethod
    def close(self) -> None:
        """Flush and give everything back. Idempotent."""

    def read(self, offset: int, length: int) -> bytes:
        """A copy of ``length`` bytes from ``offset`` on."""
        data = bytearray(length)
        self.readv(offset, [memoryview(data)])
        return bytes(data)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Store ``data`` from ``offset`` on; see `writev`."""
        self.writev(offset, [memoryview(data)])
