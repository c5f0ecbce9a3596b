"""Dirty bitmaps that are kept up while an image is open, and stored in it.

From the first change of the disk on until they are stored, those in the file say that they are in
use: a crash leaves bitmaps that nobody believes, and never old ones that look like new.
"""

from __future__ import annotations

from array import array
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bimetal.backends.block.bitmaps import Bitmaps, DirtyBitmap, fits
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.qcow2.bitmaps import (
    ALL_MARKED,
    AUTO,
    IN_USE,
    Bitmap,
    clusters_of_bitmaps,
    directory_entry,
    mark_in_use,
    read_bitmaps,
    read_bits,
)
from bimetal.backends.block.qcow2.header import Header
from bimetal.backends.block.qcow2.references import References
from bimetal.backends.block.qcow2.words import words_to_bytes, write_all
from bimetal.base.errors import BimetalError, ExitCode

if TYPE_CHECKING:
    from bimetal.backends.block.qcow2.image import Qcow2Image

__all__ = ["KeptBitmaps"]


class KeptBitmaps(Bitmaps):
    """The bitmaps of the image in ``file``, which has this ``header``. Raises OSError."""

    def __init__(self, file: ImageFile, header: Header):
        super().__init__(header.size)
        self._unsound: dict[str, list[Bitmap]] = {}
        """Those that nobody believes, which stay as they are in the file: also all of one name, of
        which there should be one."""
        self.stored = True
        """Whether those in the file are as those here, and not marked."""
        held, there = 0, read_bitmaps(file, header)
        called = Counter(each.name for each in there)
        for found in there:
            bits = None
            sound = found.plain and not found.flags & IN_USE and called[found.name] == 1
            if sound and fits(header.size, found.granularity, held):
                bits = read_bits(file, header, found)
                held += len(bits or b"")
            bitmap = DirtyBitmap(
                found.name,
                header.size,
                found.granularity,
                persistent=True,
                recording=bool(found.flags & AUTO) and bits is not None,
                inconsistent=bits is None,
            )
            if bits is None:
                self._unsound.setdefault(found.name, []).append(found)
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
        then those in the file are as before, and marked; unless it is the header that could not be
        written: nobody knows which it names, so none of their clusters is freed."""
        references = image.writer().references
        kept = [
            each
            for each in self
            if each.persistent and (not each.inconsistent or each.name in self._unsound)
        ]
        unsound = {each.name: self._unsound[each.name] for each in kept if each.inconsistent}
        left = [*chain.from_iterable(unsound.values())]
        old = clusters_of_bitmaps(image.file, image.header, left)
        new = _Places(image.file, image.header.cluster, references)
        try:
            entries = [*chain.from_iterable(self._stored(each, new) for each in kept)]
            directory = b"".join(entries)
            place = new.row(directory) if entries else 0
            image.flush()
            header = replace(image.header)  # which may name a longer table of counts by now
            header.name_bitmaps(len(entries), len(directory), place)
        except (OSError, BimetalError):
            references.free_later(new.taken)
            raise
        try:
            image.store_header(header)
        except BimetalError:
            references.free_later(new.taken)
            raise
        image.header.extensions, image.header.autoclear = header.extensions, header.autoclear
        references.free_later(old)
        self._unsound, self.stored = unsound, True

    def _stored(self, bitmap: DirtyBitmap, places: _Places) -> list[bytes]:
        """The entries of that name in their directory; the bitmap is stored then."""
        if bitmap.inconsistent:
            return [each.outdated for each in self._unsound[bitmap.name]]
        bits, table = bitmap.told, array("Q")
        for at in range(0, len(bits), places.cluster):
            part = bits[at : at + places.cluster]
            if not part.strip(b"\0"):
                table.append(0)
            elif part == b"\xff" * places.cluster:
                table.append(ALL_MARKED)
            else:
                table.append(places.one(part))
        flags, place = AUTO * bitmap.recording, places.row(words_to_bytes(table))
        return [directory_entry(bitmap.name, place, len(table), flags, bitmap.granularity)]


class _Places:
    """Clusters that are ``taken`` for what nothing names yet. Methods raise OSError."""

    def __init__(self, file: ImageFile, cluster: int, references: References):
        self.cluster, self.taken = cluster, list[int]()
        self._file, self._references = file, references

    def one(self, data: bytes) -> int:
        """Where a cluster of ``data`` lies."""
        run, _ = self._references.allocate(1)
        return self._write(run, data)

    def row(self, data: bytes) -> int:
        """Where clusters of ``data`` lie, in a row."""
        return self._write(self._references.allocate_row(-(-len(data) // self.cluster)), data)

    def _write(self, run: range, data: bytes) -> int:
        self.taken += run
        place = run.start * self.cluster
        write_all(self._file.fd, data + bytes(-len(data) % self.cluster), place)
        return place
