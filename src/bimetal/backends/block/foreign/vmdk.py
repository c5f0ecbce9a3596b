"""VMDK, the format of VMware: a description in text, which may lie in front of the data or name
the files that have it.

Source: VMware, Virtual Disk Format 5.0 (technical note).
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from msgspec.structs import replace

from bimetal.backends.block.block import SECTOR
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.folders import check_folder
from bimetal.backends.block.foreign.fields import damaged, unsupported
from bimetal.backends.block.foreign.mapped import MappedImage, Source
from bimetal.backends.block.foreign.vmdk_description import Description, Extent, read_description
from bimetal.backends.block.foreign.vmdk_sparse import SPARSE, SparseExtent
from bimetal.backends.block.formats import VMDK
from bimetal.backends.block.purpose import Purpose

__all__ = ["VmdkImage"]

OTHER_KINDS = {
    b"COWD": "is a sparse image of an ESX server",
    b"\xbe\xba\xfe\xca": "is an image of the kind seSparse",
}


class FlatExtent:
    """Bytes of the disk as they are, in ``file`` from ``start`` on."""

    def __init__(self, file: ImageFile, start: int, size: int):
        self.size = size
        self._file, self._start = file, start
        if start + size > file.length:
            raise damaged(file, f"{size} bytes of the disk are not in it")

    def runs(self, offset: int, length: int) -> Iterator[tuple[Source, int]]:
        """See `MappedImage.runs`."""
        yield (self._file, self._start + offset), length


class ZeroExtent:
    """Zeroes that no file has."""

    def __init__(self, size: int):
        self.size = size

    def runs(self, offset: int, length: int) -> Iterator[tuple[Source, int]]:
        """See `MappedImage.runs`."""
        yield None, length


class VmdkImage(MappedImage):
    """The VMDK image that ``file`` begins, and the files that it names, if there are any; they lie
    where ``purpose`` allows it. Raises `BimetalError` for one that cannot be read."""

    def __init__(self, file: ImageFile, purpose: Purpose, *, lock: bool = True):
        self._files: list[ImageFile] = []
        try:
            self._parts = self._open(file, purpose, lock)
            super().__init__(file, sum(part.size for part in self._parts))
        except BaseException:
            self._close_files()
            raise

    def runs(self, offset: int, length: int) -> Iterator[tuple[Source, int]]:
        """See `MappedImage.runs`."""
        for part in self._parts:
            count = min(length, part.size - offset)
            if count > 0:
                yield from part.runs(offset, count)
                offset, length = offset + count, length - count
            offset -= part.size

    def close(self) -> None:
        """See `Block.close`."""
        self._close_files()
        super().close()

    def _close_files(self) -> None:
        for file in self._files:
            file.close()

    def _open(
        self, file: ImageFile, purpose: Purpose, lock: bool
    ) -> list[SparseExtent | FlatExtent | ZeroExtent]:
        magic = os.pread(file.fd, 4, 0)
        if magic in OTHER_KINDS:
            raise unsupported(file, VMDK, OTHER_KINDS[magic])
        if magic == SPARSE:
            whole = SparseExtent(file)
            _check_whole(file, whole.description)
            return [whole]
        description = read_description(file, 0, file.length)
        _check_whole(file, description)
        if not description.extents:
            raise damaged(file, "its description names no part of a disk")
        return [self._part(file, extent, purpose, lock) for extent in description.extents]

    def _part(
        self, file: ImageFile, extent: Extent, purpose: Purpose, lock: bool
    ) -> SparseExtent | FlatExtent | ZeroExtent:
        """A part of the disk. What is opened for it is closed with the image."""
        size = extent.sectors * SECTOR
        if extent.kind == "ZERO":
            return ZeroExtent(size)
        if extent.kind not in ("FLAT", "VMFS", "SPARSE"):
            raise unsupported(file, VMDK, f"has a part of the kind {extent.kind}")
        where = check_folder(file.path, extent.name, purpose.folders)
        under = replace(purpose, readonly=True, over=file.path, name=extent.name, is_data=True)
        self._files.append(part := ImageFile(where, under, lock=lock))
        if extent.kind != "SPARSE":
            return FlatExtent(part, extent.offset * SECTOR, size)
        sparse = SparseExtent(part)
        if sparse.size < size:
            raise damaged(part, f"it has {sparse.size} bytes of the disk, not {size}")
        sparse.size = size
        return sparse


def _check_whole(file: ImageFile, description: Description | None) -> None:
    """Raise `BimetalError` if ``file`` has not all of the disk."""
    if description is None:
        name = os.path.join(os.path.dirname(file.path), "NAME.vmdk")
        raise unsupported(
            file, VMDK, "is a part of a disk", f"give the image that names it, such as {name!r}"
        )
    if description.has_parent:
        raise unsupported(file, VMDK, "is the difference to another one")
    if description.encrypted:
        decrypt = "decrypt it where it was made: VMware's settings of the machine, Options"
        raise unsupported(file, VMDK, "has encryption", decrypt)
