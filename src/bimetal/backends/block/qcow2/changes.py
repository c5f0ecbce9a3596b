"""Snapshots of a disk, its size, and what it lies on: what becomes of the structure of its image.

Every change is made at once (see `restructure`): no crash leaves a part of it.
"""

from __future__ import annotations

import os
from array import array

from msgspec.structs import replace

from bimetal.backends.block.qcow2.bitmaps import mark_in_use
from bimetal.backends.block.qcow2.entries import OFFSET
from bimetal.backends.block.qcow2.header import BACKING_FORMAT, L1_LIMIT, Header
from bimetal.backends.block.qcow2.header_place import store_header
from bimetal.backends.block.qcow2.image import Qcow2Image
from bimetal.backends.block.qcow2.restructure import NewSnapshot
from bimetal.backends.block.qcow2.snapshots import SNAPSHOT_LIMIT, Snapshot
from bimetal.backends.block.qcow2.survey import read_l1
from bimetal.backends.block.qcow2.words import read_words
from bimetal.base.errors import BimetalError, ExitCode

__all__ = [
    "apply_snapshot",
    "create_snapshot",
    "delete_snapshot",
    "empty",
    "find_snapshot",
    "grow",
    "lay_on",
    "shrink",
    "snapshot_tables",
]


def find_snapshot(image: Qcow2Image, key: str) -> Snapshot:
    """The snapshot of that identity or, if there is none, of that name.

    Raises `BimetalError` if there is no such snapshot, and OSError.
    """
    snapshots = image.snapshots()
    for snapshot in snapshots:
        if snapshot.identity == key:
            return snapshot
    for snapshot in snapshots:
        if snapshot.name == key:
            return snapshot
    names = ", ".join(repr(snapshot.name) for snapshot in snapshots) or "none"
    raise BimetalError(
        f"the image {image.name!r} has no snapshot {key!r}", f"it has {names}", ExitCode.NO_INPUT
    )


def snapshot_tables(image: Qcow2Image, snapshot: Snapshot) -> list[int]:
    """The offsets of the L2 tables of a snapshot. Raises OSError."""
    if not snapshot.l1_entries:
        return []
    l1 = read_l1(image.file, snapshot.l1_offset, snapshot.l1_entries)
    return [entry & OFFSET for entry in l1]


def create_snapshot(
    image: Qcow2Image,
    name: str,
    now: int,
    *,
    state: tuple[list[int], int] = ([], 0),
    clock: int = 0,
) -> Snapshot:
    """Keep the disk as it is now, ``now`` nanoseconds after 1970, under a name; and with it the
    ``state`` of a machine, which `state.stored_state` has stored, whose time is ``clock``.

    Raises `BimetalError` where that cannot be, and OSError.
    """
    if not image.is_inside:
        raise BimetalError(
            f"the data of the image {image.name!r} is in a file of its own, which can keep no "
            "snapshot",
            "lay an image over it: bimetal image create -f qcow2 -F qcow2 -b OLD NEW",
            ExitCode.USAGE,
        )
    if not 0 < len(os.fsencode(name)) < 256 or "\0" in name:
        raise BimetalError(
            f"{name!r} cannot be the name of a snapshot",
            "give it one of 1 to 255 bytes",
            ExitCode.USAGE,
        )
    structure = image.structure()
    if len(structure.kept) >= SNAPSHOT_LIMIT:
        raise BimetalError(
            f"the image {image.name!r} has as many snapshots as it can have",
            "delete one",
            ExitCode.USAGE,
        )
    numbers = [int(other.identity) for other in structure.kept if other.identity.isdecimal()]
    identity = str(max(numbers, default=0) + 1)
    seconds, nanoseconds = divmod(now, 10**9)
    tables, length = state
    snapshot = Snapshot(identity, name, seconds, nanoseconds, image.size, clock, length)
    disk = structure.active[: image.header.l1_needed] if tables else list(structure.active)
    structure.added.append(NewSnapshot(snapshot, disk + tables))
    image.restructure(structure)
    return snapshot


def apply_snapshot(image: Qcow2Image, key: str) -> None:
    """Make the disk what it was when a snapshot was made. Raises `BimetalError` and OSError."""
    snapshot = find_snapshot(image, key)
    structure = image.structure()
    header = structure.header
    header.size = snapshot.size
    if header.size != image.size:
        _outdate_bitmaps(image)
    tables = snapshot_tables(image, snapshot)[: header.l1_needed]
    structure.active = tables + [0] * (header.l1_needed - len(tables))
    image.restructure(structure)
    if image.bitmaps is not None:
        image.bitmaps.mark(0, image.size)


def delete_snapshot(image: Qcow2Image, key: str) -> None:
    """Forget a snapshot, and give back what only it used. Raises `BimetalError` and OSError."""
    identity = find_snapshot(image, key).identity
    structure = image.structure()
    structure.kept = [other for other in structure.kept if other.identity != identity]
    image.restructure(structure)


def grow(image: Qcow2Image, size: int) -> None:
    """Make the disk longer, up to ``size`` bytes; what is new reads as zeroes. Raises
    `BimetalError` and OSError."""
    header = replace(image.header, size=size)
    _check_size(image, header)
    if header.l1_needed > image.header.l1_entries:
        structure = image.structure()
        structure.active += [0] * (header.l1_needed - len(structure.active))
        image.restructure(structure)
    old = image.size
    image.set_size(size)  # until the header says so, nothing of that is seen
    try:
        end = min(old + -old % header.cluster, size)
        if image.backing is not None:
            end = min(max(end, image.backing.size), size)
        if old < end:
            image.write_zeroes(old, end - old)
        _outdate_bitmaps(image)
        image.flush()
        store_header(image.file, image.header)
    except BaseException:
        image.set_size(old)
        raise


def shrink(image: Qcow2Image, size: int) -> None:
    """Cut off the end of the disk behind ``size`` bytes. Raises `BimetalError` and OSError."""
    structure = image.structure()
    header = structure.header
    header.size = size
    _check_size(image, header)
    needed, inside = header.l1_needed, -(-size // header.cluster) % header.per_table
    active = structure.active[:needed]
    if inside and active[-1]:
        words = read_words(image.file.fd, active[-1], header.cluster // 8)
        cut = array("Q", bytes(header.cluster))
        cut[: inside * header.entry_words] = words[: inside * header.entry_words]
        structure.edited[needed - 1] = cut
        active[-1] = 0
    structure.active = active
    _outdate_bitmaps(image)
    image.restructure(structure)
    image.places.resize(size)


def empty(image: Qcow2Image) -> None:
    """Forget all that the image itself has: its disk shows its backing file. Raises OSError."""
    structure = image.structure()
    structure.active = [0] * len(structure.active)
    image.restructure(structure)


def lay_on(image: Qcow2Image, backing: str | None, format: str | None) -> None:
    """Have the image name another backing file of that format, or none. Raises `BimetalError` if
    the name is too long, and OSError."""
    image.writer()
    image.flush()
    header = replace(image.header, backing=backing)
    others = {k: data for k, data in header.extensions.items() if k != BACKING_FORMAT}
    named = {} if format is None else {BACKING_FORMAT: format.encode()}
    header.extensions = named | others
    store_header(image.file, header)
    image.header.backing, image.header.extensions = header.backing, header.extensions


def _outdate_bitmaps(image: Qcow2Image) -> None:
    """The disk gets another size, which no bitmap has: other programs take only those for sound
    that are marked as in use."""
    if image.bitmaps is not None:
        image.bitmaps.use(image)
    else:
        mark_in_use(image.file, image.header, kind=0)
        image.file.flush()


def _check_size(image: Qcow2Image, header: Header) -> None:
    if header.l1_needed * 8 > L1_LIMIT:
        raise BimetalError(
            f"the image {image.name!r} has clusters of {header.cluster} bytes, too small for a "
            f"disk of {header.size} bytes",
            "make one of larger clusters: bimetal image convert -O qcow2 -o cluster_size=2M",
            ExitCode.USAGE,
        )
    if header.version == 2 and image.header.snapshots:
        raise BimetalError(
            f"the image {image.name!r} has snapshots, which have no size of their own in version 2",
            "delete them, or make an image of version 3: bimetal image convert -O qcow2",
            ExitCode.USAGE,
        )
