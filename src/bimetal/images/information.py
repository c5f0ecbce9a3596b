"""What an image says of itself."""

from __future__ import annotations

import os

from msgspec import Struct, field

from bimetal.backends.block.chain import find_backing
from bimetal.backends.block.choose import image_format, open_disk, seen_format
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.formats import QCOW2, RAW
from bimetal.backends.block.nbd.address import is_address
from bimetal.backends.block.purpose import Purpose
from bimetal.backends.block.qcow2.bitmaps import AUTO, IN_USE, read_bitmaps
from bimetal.backends.block.qcow2.header import (
    CORRUPT,
    DIRTY,
    EXTENDED_L2,
    LAZY_REFERENCES,
    RAW_DATA,
    ZSTD,
    Header,
    read_header,
)
from bimetal.backends.block.qcow2.snapshots import Snapshot, read_snapshots
from bimetal.base.bits import align_up
from bimetal.images.opening import telling

__all__ = ["BitmapInformation", "Information", "Qcow2Information", "chain", "information"]


class BitmapInformation(Struct, frozen=True):
    """A dirty bitmap: its name, how many bytes of the disk a bit of it stands for, its flags."""

    name: str
    granularity: int
    flags: tuple[str, ...]


class Qcow2Information(Struct, frozen=True):
    """What only qcow2 images say."""

    compat: str
    compression: str
    reference_bits: int
    lazy: bool
    corrupt: bool
    extended: bool
    data_file: str | None
    raw_data: bool
    bitmaps: tuple[BitmapInformation, ...]


class Information(Struct, frozen=True):
    """What the image at ``path`` says: its ``format``, the bytes of its disk and of the file (as
    they take up space on the host), its backing file by the ``name`` that it has in the image and
    by the path that this is, and what only qcow2 images say."""

    path: str
    format: str
    size: int
    space: int
    cluster: int | None = None
    backing: str | None = None
    backing_path: str | None = None
    backing_format: str | None = None
    dirty: bool = False
    snapshots: list[Snapshot] = field(default_factory=list)
    qcow2: Qcow2Information | None = None


def information(path: str, *, format: str | None = None, shared: bool = False) -> Information:
    """What the image at ``path`` says of itself. Without a ``format`` its bytes tell which it has,
    which harms nobody: no other file is opened."""
    if is_address(path):
        return _of_disk(path, format or RAW, 0, shared)
    file = ImageFile(path, Purpose(readonly=True, format=format), lock=not shared)
    with telling(f"the image {path!r} cannot be read"):
        try:
            kind = seen_format(file) if format is None else image_format(file, _purpose(format))
            space = os.fstat(file.fd).st_blocks * 512
            if kind == QCOW2:
                return _of_qcow2(file, read_header(file), space)
            if kind == RAW:
                return Information(path, RAW, align_up(file.length, 512), space)
        finally:
            file.close()
    return _of_disk(path, kind, space, shared)


def chain(
    path: str,
    *,
    format: str | None = None,
    shared: bool = False,
    folders: tuple[str, ...] = (),
) -> list[Information]:
    """What the image at ``path`` says of itself, and each that it lies on."""
    found = [information(path, format=format, shared=shared)]
    paths = [path]
    while (last := found[-1]).backing is not None:
        where = find_backing(last.path, last.backing, last.backing_format, tuple(paths), folders)
        paths.append(where)
        found.append(information(where, format=last.backing_format, shared=shared))
    return found


def _of_disk(path: str, format: str, space: int, shared: bool) -> Information:
    """Of what says nothing but its size."""
    disk = open_disk(path, readonly=True, lock=not shared, format=format)
    disk.close()
    return Information(path, format, disk.size, space)


def _purpose(format: str) -> Purpose:
    return Purpose(readonly=True, format=format)


def _of_qcow2(file: ImageFile, header: Header, space: int) -> Information:
    bitmaps = tuple(
        BitmapInformation(
            bitmap.name,
            bitmap.granularity,
            ("in-use",) * bool(bitmap.flags & IN_USE) + ("auto",) * bool(bitmap.flags & AUTO),
        )
        for bitmap in read_bitmaps(file, header)
    )
    own = Qcow2Information(
        "0.10" if header.version == 2 else "1.1",
        "zstd" if header.compression == ZSTD else "zlib",
        header.reference_bits,
        bool(header.compatible & LAZY_REFERENCES),
        bool(header.features & CORRUPT),
        bool(header.features & EXTENDED_L2),
        header.data_file,
        bool(header.autoclear & RAW_DATA),
        bitmaps,
    )
    backing_path = None
    if header.backing is not None:
        backing_path = os.path.join(os.path.dirname(file.path), header.backing)
    return Information(
        file.path,
        QCOW2,
        header.size,
        space,
        header.cluster,
        header.backing,
        backing_path,
        header.backing_format,
        bool(header.features & DIRTY),
        read_snapshots(file, header)[0],
        own,
    )
