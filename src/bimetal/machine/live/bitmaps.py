"""Dirty bitmaps of disks that are in use: what can be done with them at a moment.

Each change says how to be undone. Those that are kept in an image are stored in it at once, unless
a job writes to that image all the time.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from msgspec import Struct

from bimetal.backends.block.bitmaps import Bitmaps, DirtyBitmap, default_granularity
from bimetal.backends.block.block import Block
from bimetal.backends.block.qcow2.image import Qcow2Image
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.machine.live.chain import cluster_of

__all__ = [
    "AddBitmap",
    "BitmapAt",
    "BitmapChange",
    "ClearBitmap",
    "Find",
    "MergeBitmaps",
    "RecordBitmap",
    "RemoveBitmap",
    "bitmaps_of",
    "checked",
    "outdate",
]

Find = Callable[[str, str], Block]
"""The image of a disk at a path, or, for "", the one that the guest writes to."""


class BitmapAt(Struct, frozen=True):
    """The dirty bitmap ``name`` of an image of a disk: of that at ``path``, or, for "", of the one
    that the guest writes to."""

    drive: str
    name: str
    path: str = ""


class BitmapChange(Struct, frozen=True):
    """Something that is done to the bitmap ``at``."""

    at: BitmapAt

    def apply(self, find: Find, undo: ExitStack) -> Block | None:
        """Do it, while no request is carried out, and have ``undo`` do the opposite; the image, if
        what it keeps is outdated. Raises `BimetalError` and OSError."""
        raise NotImplementedError


class AddBitmap(BitmapChange, frozen=True):
    """Have one more, with granules of so many bytes, or, for 0, what suits the image."""

    granularity: int = 0
    persistent: bool = False
    recording: bool = True

    def apply(self, find: Find, undo: ExitStack) -> Block | None:
        """See `BitmapChange.apply`."""
        image = find(self.at.drive, self.at.path)
        bitmaps, name = bitmaps_of(image), self.at.name
        granularity = self.granularity or default_granularity(cluster_of(image))
        bitmaps.check_new(name, granularity)
        if self.persistent:
            _check_kept(image)
        new = DirtyBitmap(
            name, image.size, granularity, persistent=self.persistent, recording=self.recording
        )
        bitmaps.add(new)
        undo.callback(bitmaps.remove, name)
        return image if self.persistent else None


class RemoveBitmap(BitmapChange, frozen=True):
    """Have it no more."""

    def apply(self, find: Find, undo: ExitStack) -> Block | None:
        """See `BitmapChange.apply`."""
        image = find(self.at.drive, self.at.path)
        bitmap = checked(image, self.at.name, inconsistent=True)
        bitmaps = bitmaps_of(image)
        bitmaps.remove(bitmap.name)
        undo.callback(bitmaps.add, bitmap)
        return image if bitmap.persistent else None


class ClearBitmap(BitmapChange, frozen=True):
    """Have it mark nothing."""

    def apply(self, find: Find, undo: ExitStack) -> Block | None:
        """See `BitmapChange.apply`."""
        image = find(self.at.drive, self.at.path)
        bitmap = checked(image, self.at.name)
        undo.callback(bitmap.put, bitmap.take())
        return image if bitmap.persistent else None


class RecordBitmap(BitmapChange, frozen=True):
    """Have it mark what changes from now on, if ``on``, or not."""

    on: bool = True

    def apply(self, find: Find, undo: ExitStack) -> Block | None:
        """See `BitmapChange.apply`."""
        image = find(self.at.drive, self.at.path)
        bitmap, bitmaps = checked(image, self.at.name), bitmaps_of(image)
        undo.callback(bitmaps.record, bitmap.name, bitmap.recording)
        bitmaps.record(bitmap.name, self.on)
        return image if bitmap.persistent else None


class MergeBitmaps(BitmapChange, frozen=True):
    """Have it mark what ``sources`` mark, too."""

    sources: tuple[BitmapAt, ...] = ()

    def apply(self, find: Find, undo: ExitStack) -> Block | None:
        """See `BitmapChange.apply`."""
        image = find(self.at.drive, self.at.path)
        bitmap = checked(image, self.at.name)
        others = [(find(each.drive, each.path), each.name) for each in self.sources]
        found = [checked(other, name, readonly=True) for other, name in others]
        for other, _ in others:
            if other.size != image.size:
                raise _wrong(
                    f"{other.name!r} has {other.size} bytes and {image.name!r} {image.size}: "
                    "bitmaps of the one say nothing about the other",
                    "merge those of images that are as large",
                )
        undo.callback(_restore, bitmap, bytes(bitmap.bits))
        for each in found:
            bitmap.merge(each)
        return image if bitmap.persistent else None


def bitmaps_of(image: Block) -> Bitmaps:
    """The bitmaps of an image. Raises `BimetalError` if it can have none."""
    if image.bitmaps is None:
        raise _wrong(
            f"{image.name!r} can have no dirty bitmaps",
            "raw and qcow2 images can, if what is written to them is kept",
        )
    return image.bitmaps


def checked(
    image: Block, name: str, *, readonly: bool = False, inconsistent: bool = False
) -> DirtyBitmap:
    """A bitmap of an image that nobody else uses; one that may be only read if ``readonly``, and
    that tells nothing if ``inconsistent``. Raises `BimetalError`."""
    bitmap = bitmaps_of(image)[name]
    if bitmap.busy:
        raise _wrong(
            f"the dirty bitmap {name!r} is in use by a job, or served",
            "wait for the end: query-jobs, query-block-exports",
        )
    if image.readonly and bitmap.persistent and not readonly:
        raise _wrong(
            f"the dirty bitmap {name!r} is kept in {image.name!r}, which is only read",
            "have that written: blockdev-reopen",
        )
    if bitmap.inconsistent and not inconsistent:
        raise _wrong(
            f"the dirty bitmap {name!r} is inconsistent: it was not stored when it was last used",
            "remove it, and make a full backup: block-dirty-bitmap-remove",
        )
    return bitmap


def outdate(image: Block, bitmap: DirtyBitmap) -> None:
    """A bitmap changes: if it is kept in the image, have it stored when that is written no more.
    Raises OSError."""
    if isinstance(image, Qcow2Image) and image.bitmaps is not None and bitmap.persistent:
        image.bitmaps.outdate(image)


def _check_kept(image: Block) -> None:
    if not isinstance(image, Qcow2Image) or image.bitmaps is None:
        raise _wrong(
            f"the image {image.name!r} keeps no dirty bitmaps",
            "say persistent=false, or make a qcow2 image of it: bimetal image convert -O qcow2",
        )
    image.bitmaps.check_kept(image)


def _restore(bitmap: DirtyBitmap, bits: bytes) -> None:
    bitmap.take()
    bitmap.put(bits)


def _wrong(cause: str, remedy: str) -> BimetalError:
    return BimetalError(cause, remedy, ExitCode.USAGE)
