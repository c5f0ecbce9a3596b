"""What is told of an image of a disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from bimetal.backends.block.qcow2.snapshots import Snapshot

__all__ = ["BitmapView", "ImageAt"]


class BitmapView(Struct, frozen=True):
    """A dirty bitmap of an image: how many bytes it marks, and how many a granule has; whether it
    marks what changes, a job works with it, the image keeps it, and whether it tells nothing,
    because it was not stored when it was last in use."""

    name: str
    count: int
    granularity: int
    recording: bool
    busy: bool
    persistent: bool
    inconsistent: bool


class ImageAt(Struct, frozen=True):
    """An image of a disk: where it is, its format, the bytes of its disk, whether it is only read,
    the bytes of its clusters, if it has such, its dirty bitmaps, how far the disk, and its file,
    may be written before somebody is told, 0 if nobody is, and the snapshots in it."""

    path: str
    format: str
    size: int
    readonly: bool
    cluster: int | None = None
    bitmaps: tuple[BitmapView, ...] = ()
    limit: int = 0
    file_limit: int = 0
    snapshots: tuple[Snapshot, ...] = ()
