"""The states of whole machines that qcow2 disks keep beside their own snapshots, as QEMU's do."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress

from bimetal.backends.block.block import Block
from bimetal.backends.block.memory import MemoryDisk
from bimetal.backends.block.overlay import Overlay
from bimetal.backends.block.qcow2.changes import create_snapshot, delete_snapshot, find_snapshot
from bimetal.backends.block.qcow2.image import Qcow2Image
from bimetal.backends.block.qcow2.snapshots import Snapshot
from bimetal.backends.block.qcow2.state import read_state, stored_state
from bimetal.base.clock import wall_nanoseconds
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.machine.hardware import Hardware
from bimetal.machine.still import stored_of
from bimetal.snapshot.reader import Reader

__all__ = [
    "forget",
    "keep",
    "keepers_of",
    "named",
    "opened",
    "other_files",
]

PIECE = 4 << 20


def keepers_of(hardware: Hardware) -> list[Qcow2Image]:
    """The disks that keep snapshots: all those to which the guest writes, the first of which keeps
    the state of the machine too. Raises `BimetalError` if one cannot, or if there is none."""
    found = list[Qcow2Image]()
    for disk in stored_of(hardware):
        temporary = isinstance(disk, Overlay | MemoryDisk)
        if temporary or (isinstance(disk, Block) and disk.readonly):
            continue
        if not isinstance(disk, Qcow2Image):
            raise BimetalError(
                f"the guest writes to {getattr(disk, 'name', disk)}, which can keep no snapshot",
                "make a qcow2 image of it: bimetal image convert -O qcow2 OLD NEW; or save the "
                "machine to a file",
                ExitCode.USAGE,
            )
        found.append(disk)
    if not found:
        raise BimetalError(
            "the machine has no disk that could keep its state",
            "give it a qcow2 disk, to which it writes itself; or save it to a file",
            ExitCode.USAGE,
        )
    return found


def other_files(hardware: Hardware) -> list[str]:
    """The paths of the files that are part of the state, but for those that keep it."""
    own = {image.file.path for image in keepers_of(hardware)}
    paths = (path for disk in stored_of(hardware) for path in disk.files())
    return [path for path in paths if path not in own]


def check_new(images: Sequence[Qcow2Image], name: str) -> None:
    """Raise `BimetalError` if one of the images has a snapshot of that name, and OSError."""
    for image in images:
        if any(each.name == name for each in image.snapshots()):
            raise BimetalError(
                f"there is a state {name[:80]!r} already",
                "choose another name, or delete it",
                ExitCode.USAGE,
            )


def keep(images: Sequence[Qcow2Image], name: str, state: int, clock: int) -> None:
    """Have each of the images make a snapshot of that name, and the first one keep with it what is
    in the open file ``state``; ``clock`` is the machine's time. Earlier ones of that name go.

    Raises `BimetalError` and OSError, and then the images have the snapshots that they had.
    """
    now, made = wall_nanoseconds(), list[tuple[Qcow2Image, Snapshot]]()
    try:
        for image in images[1:]:
            made.append((image, create_snapshot(image, name, now, clock=clock)))
        first = images[0]
        with stored_state(first, _pieces(state)) as stored:
            made.append((first, create_snapshot(first, name, now, state=stored, clock=clock)))
    except BaseException:
        for image, snapshot in made:
            with suppress(BimetalError, OSError):
                delete_snapshot(image, snapshot.identity)
        raise
    for image, new in made:
        for old in image.snapshots():
            if old.name == name and old.identity != new.identity:
                delete_snapshot(image, old.identity)


def named(images: Sequence[Qcow2Image], name: str) -> list[Snapshot]:
    """The snapshot of that name of each of the images, of which the first has a machine's state.
    Raises `BimetalError` if one has none, and OSError."""
    found = list[Snapshot]()
    for image in images:
        fitting = [each for each in image.snapshots() if each.name == name]
        found.append(fitting[-1] if fitting else find_snapshot(image, name))
    if not found[0].state_size:
        raise BimetalError(
            f"the snapshot {name!r} in {images[0].name} is one of the disk only: it has no state "
            "of a machine",
            f"start the machine, after: bimetal image snapshot -a {name} {images[0].name}",
            ExitCode.USAGE,
        )
    return found


def opened(image: Qcow2Image, snapshot: Snapshot) -> Reader:
    """The state that a snapshot has. Raises `BimetalError` and OSError."""
    fd = os.memfd_create("bimetal-state", os.MFD_CLOEXEC)
    try:
        for offset in range(0, snapshot.state_size, PIECE):
            piece = read_state(image, snapshot, offset, PIECE)
            view = memoryview(piece)
            while view:
                view = view[os.write(fd, view) :]
    except BaseException:
        os.close(fd)
        raise
    return Reader(f"{snapshot.name!r} in {image.name}", fd)


def forget(images: Sequence[Qcow2Image], name: str) -> None:
    """Have the images forget their snapshots of that name. Raises `BimetalError` if none of them
    has one, and OSError."""
    find_snapshot(images[0], name)
    for image in images:
        for each in image.snapshots():
            if name in (each.name, each.identity):
                delete_snapshot(image, each.identity)


def _pieces(fd: int) -> Iterator[bytes]:
    offset = 0
    while piece := os.pread(fd, PIECE, offset):
        yield piece
        offset += len(piece)
