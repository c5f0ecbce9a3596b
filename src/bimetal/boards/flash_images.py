"""What is in a board's flash banks, of machines that have something there."""

from __future__ import annotations

from functools import partial

from bimetal.backends.block.awaited import AwaitedDisk
from bimetal.backends.block.block import SECTOR, Block
from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.formats import QCOW2, RAW
from bimetal.backends.block.memory import MemoryDisk
from bimetal.base.bits import align_up
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.sizes import format_size

__all__ = ["holding", "open_flash"]


def open_flash(path: str, size: int, readonly: bool, *, arriving: bool = False) -> Block:
    """The image at ``path``, raw unless it is called otherwise; one that is written to has the
    ``size`` of the bank, and is still to come with a machine that is ``arriving``."""
    opening = partial(open_disk, path, format=QCOW2 if path.endswith(".qcow2") else RAW)
    if arriving and not readonly:
        image: Block = AwaitedDisk(opening(readonly=True, lock=False), opening)
    else:
        image = opening(readonly=readonly)
    if image.size > size or (image.size < size and not readonly):
        image.close()
        raise BimetalError(
            f"the flash image {path} has {format_size(image.size)}, a bank {format_size(size)}",
            f"run 'truncate -s {size} FILE' on a copy of it",
            ExitCode.DATA,
        )
    return image


def holding(firmware: bytes) -> Block:
    """An image with ``firmware``, and behind it, up to the end of a sector, what erased flash
    holds."""
    return MemoryDisk(firmware.ljust(align_up(len(firmware), SECTOR), b"\xff"), readonly=True)
