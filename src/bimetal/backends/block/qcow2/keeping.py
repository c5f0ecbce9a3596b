"""Dirty bitmaps that are kept up while an image is open, and stored in it.

From the first change of the disk on until they are stored, those in the file say that they are in
use: a crash leaves bitmaps that nobody believes, and never old ones that look like new.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bimetal.backends.block.bitmaps import Bitmaps, DirtyBitmap
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.qcow2.bitmaps import (
    AUTO,
    IN_USE,
    Bitmap,
    mark_in_use,
    read_bitmaps,
    read_bits,
)
from bimetal.backends.block.qcow2.header import Header
from bimetal.backends.block.qcow2.restructure import NewBitmap
from bimetal.base.errors import BimetalError, ExitCode

if TYPE_CHECKING:
    from bimetal.backends.block.qcow2.image import Qcow2Image

__all__ = ["KeptBitmaps"]


class KeptBitmaps(Bitmaps):
    """The bitmaps of the image in ``file``, which has this ``header``. Raises OSError."""

    def __init__(self, file: ImageFile, header: Header):
        super().__init__(header.size)
        self._unsound: dict[str, Bitmap] = {}
        """Those that nobody believes: they stay as they are in the file."""
        self.stored = True
        """Whether those in the file are as those here, and not marked."""
        for found in read_bitmaps(file, header):
            bits = None
            if found.plain and not found.flags & IN_USE and found.name not in self:
                bits = read_bits(file, header, found)
            bitmap = DirtyBitmap(
                found.name,
                header.size,
                found.granularity,
                persistent=True,
                recording=bool(found.flags & AUTO) and bits is not None,
                inconsistent=bits is None,
            )
            if bits is None:
                self._unsound[found.name] = found
            else:
                bitmap.put(bits)
            self.add(bitmap)

    def check_kept(self, image: Qcow2Image) -> None:
        """Raise `BimetalError` unless bitmaps can be kept in an image."""
        if image.header.version < 3:
            raise BimetalError(
                f"the image {image.name!r} is of version 2, which keeps no dirty bitmaps",
                "say persistent=false, or make one of version 3: bimetal image convert -O qcow2",
                ExitCode.USAGE,
            )
        if image.readonly:
            raise BimetalError(
                f"the image {image.name!r} is only read, and its bitmaps with it",
                "have it written: blockdev-reopen",
                ExitCode.USAGE,
            )

    def use(self, image: Qcow2Image) -> None:
        """What is stored is about to be outdated: note that in the file, safely. Raises OSError."""
        if self.stored and self.persistent:
            self.outdate(image)

    def outdate(self, image: Qcow2Image) -> None:
        """Those in the file are not as those here, if there are any: `store` has something to do.
        Raises OSError."""
        if self.stored:
            mark_in_use(image.file, image.header, kind=0)
            image.file.flush()
            self.stored = False

    def ready(self, offset: int, length: int) -> bool:
        """Tell of a change of the disk, unless `use` has to be called before."""
        if self.stored and self.persistent:
            return False
        self.mark(offset, length)
        return True

    def store(self, image: Qcow2Image) -> None:
        """Store them in the image, at once or not at all. Raises OSError and `BimetalError`, and
        then those in the file are as before, and marked."""
        structure = image.structure()
        structure.bitmaps = [
            self._unsound[each.name]
            if each.inconsistent
            else NewBitmap(each.name, each.granularity, AUTO * each.recording, each.told)
            for each in self
            if each.persistent
        ]
        image.restructure(structure)
        self.stored = True
