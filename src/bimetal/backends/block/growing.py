"""Disks that become larger while they are in use."""

from __future__ import annotations

from bimetal.backends.block.block import SECTOR, Block
from bimetal.backends.block.qcow2.changes import grow
from bimetal.backends.block.qcow2.image import Qcow2Image
from bimetal.backends.block.raw import RawImage
from bimetal.base.bits import align_up
from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["grow_disk"]


def grow_disk(disk: Block, size: int) -> None:
    """Make ``disk`` have ``size`` bytes, rounded up to sectors; what is new reads as zeroes. Raises
    `BimetalError` where that cannot be, and OSError."""
    size = align_up(size, SECTOR)
    if size < disk.size:
        raise BimetalError(
            f"the disk in {disk.name!r} would lose {disk.size - size} bytes at its end",
            "a disk only gets larger while it is in use",
            ExitCode.USAGE,
        )
    if size == disk.size:
        return
    if disk.bitmaps is not None:
        disk.bitmaps.check_size(size)
    if isinstance(disk, Qcow2Image):
        grow(disk, size)
    elif isinstance(disk, RawImage):
        disk.resize(size)
    else:
        raise BimetalError(
            f"the image {disk.name!r} cannot be made larger",
            "its format is only read, or what the guest writes to it is forgotten",
            ExitCode.USAGE,
        )
