"""What every block back end offers, and the little that all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

__all__ = ["SECTOR", "Block", "Extent", "joined"]

SECTOR = 512
"""Bytes in a sector: the unit of a disk's size, whatever its physical blocks are."""


@dataclass(frozen=True)
class Extent:
    """``length`` bytes of a disk from ``start`` on that are stored in one way.

    ``data``: they are stored as bytes, or else known to be zeroes; ``zero``: they are zeroes.
    ``depth`` is 0 for the image itself and 1 more for each backing file below it; ``present`` is
    False where no image of the chain says anything. ``offset`` is where in the file at ``path``
    the bytes lie, None if they do not lie there as they are.
    """

    start: int
    length: int
    data: bool = True
    zero: bool = False
    depth: int = 0
    present: bool = True
    compressed: bool = False
    offset: int | None = None
    path: str = ""

    @property
    def stop(self) -> int:
        """Where it ends."""
        return self.start + self.length

    def continues(self, other: Extent) -> bool:
        """Whether this goes on where ``other`` ends, in the same way."""
        offset = None if other.offset is None else other.offset + other.length
        expected = replace(other, start=other.stop, length=self.length, offset=offset)
        return self == expected


def joined(extents: Iterable[Extent]) -> Iterator[Extent]:
    """``extents``, which follow each other, with those made one that go on in the same way."""
    last: Extent | None = None
    for extent in extents:
        if last is not None and extent.continues(last):
            last = replace(last, length=last.length + extent.length)
            continue
        if last is not None:
            yield last
        last = extent
    if last is not None:
        yield last


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

    def rest(self) -> None:
        """Write all that `close` would, so that the files stay as they are unless something else is
        written: for snapshots of a machine."""
        self.flush()

    def files(self) -> tuple[str, ...]:
        """The paths of all files that it is stored in, backing files too."""
        return ()

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

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """How the bytes from ``offset`` on are stored, without gaps and in order. Whoever does not
        know says that all of it is data. The disk must not be written meanwhile."""
        if length:
            yield Extent(offset, length, path=self.name)

    def read(self, offset: int, length: int) -> bytes:
        """A copy of ``length`` bytes from ``offset`` on."""
        data = bytearray(length)
        self.readv(offset, [memoryview(data)])
        return bytes(data)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Store ``data`` from ``offset`` on; see `writev`."""
        self.writev(offset, [memoryview(data)])
