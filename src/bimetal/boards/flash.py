"""The flash banks of a board, with the user's images in them."""

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
from bimetal.devices.flash.cfi import Geometry
from bimetal.devices.flash.pflash import PFlash
from bimetal.machine.chassis import Chassis

__all__ = ["FLASH_BANKS", "flash_banks"]

FLASH_BANKS = 2


def flash_banks(m: Chassis, bank: Geometry, firmware: bytes | None = None) -> list[PFlash]:
    """Both banks with the user's images, of which the first, for code, is not written to, and
    holds ``firmware`` if there is some.

    Raises `BimetalError` for images that do not fit.
    """
    if firmware is not None and m.config.flash:
        raise BimetalError(
            "a bios and flash images would lie in the same flash",
            "leave the bios away, or give it as the first flash image",
            ExitCode.USAGE,
        )
    if len(m.config.flash) > FLASH_BANKS:
        raise BimetalError(
            f"{len(m.config.flash)} flash images do not fit into this board",
            f"give it at most {FLASH_BANKS}",
            ExitCode.USAGE,
        )
    banks: list[PFlash] = []
    try:
        for number in range(FLASH_BANKS):
            path = m.config.flash[number] if number < len(m.config.flash) else None
            image = None
            if path:
                image = open_flash(path, bank.size, number == 0, arriving=m.config.arriving)
            if firmware is not None and number == 0:
                image = MemoryDisk(_whole_sectors(firmware), readonly=True)
            banks.append(PFlash(bank, image))
    except BimetalError:
        for each in banks:
            each.close()
        raise
    return banks


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


def _whole_sectors(data: bytes) -> bytes:
    """``data`` and, up to the end of a sector, what erased flash holds."""
    return data.ljust(align_up(len(data), SECTOR), b"\xff")
