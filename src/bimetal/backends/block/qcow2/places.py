"""Where the clusters of the disk lie: in the image itself, or in an external data file, which has
nothing else in it and each cluster at the offset that it has in the disk."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable

from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.qcow2.entries import COPIED, OFFSET
from bimetal.backends.block.qcow2.header import RAW_DATA, Header
from bimetal.backends.block.qcow2.references import References

__all__ = ["Inside", "Outside", "Places"]


class Places(ABC):
    """The file that the clusters of the disk lie in. ``there`` are the bits of an entry of which
    one at least is set if it names a cluster; a disk that ``stays_raw`` is read without tables by
    others. Methods may raise OSError."""

    there: int
    stays_raw = False

    def __init__(self, file: ImageFile):
        self.file, self.fd, self.path = file, file.fd, file.path

    @abstractmethod
    def allocate(self, first: int, count: int, references: References) -> tuple[range, bool]:
        """Room for at least one and at most ``count`` clusters of the disk from ``first`` on: its
        numbers, and whether it is zero until it is written, whatever crashes."""

    @abstractmethod
    def free_later(self, clusters: Iterable[int], references: References) -> None:
        """Nothing names these clusters once the tables are safe."""

    @abstractmethod
    def resize(self, size: int) -> None:
        """The disk has ``size`` bytes from now on."""

    def flush(self) -> None:
        """Return once what was written to clusters is safe."""
        self.file.flush()


class Inside(Places):
    """In the image itself."""

    there = OFFSET

    def allocate(self, first: int, count: int, references: References) -> tuple[range, bool]:
        """See `Places.allocate`."""
        return references.allocate(count)

    def free_later(self, clusters: Iterable[int], references: References) -> None:
        """See `Places.free_later`."""
        references.free_later(clusters)

    def resize(self, size: int) -> None:
        """What has no clusters needs no room."""


class Outside(Places):
    """In the external data file ``file``, which is made as long as the disk if it is written."""

    there = OFFSET | COPIED
    """The first cluster of the disk lies at 0."""

    def __init__(self, file: ImageFile, header: Header):
        super().__init__(file)
        self.stays_raw = bool(header.autoclear & RAW_DATA)
        if not file.readonly and file.length < header.size:
            self.resize(header.size)

    def resize(self, size: int) -> None:
        """See `Places.resize`."""
        if not self.file.block_device:
            os.ftruncate(self.fd, size)
            self.file.length = size

    def allocate(self, first: int, count: int, references: References) -> tuple[range, bool]:
        """See `Places.allocate`."""
        return range(first, first + count), False

    def free_later(self, clusters: Iterable[int], references: References) -> None:
        """Their places belong to the same clusters of the disk for ever."""
