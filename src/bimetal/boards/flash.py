"""The flash banks of a board, with the user's images in them."""

from __future__ import annotations

from bimetal.backends.block.block import Block
from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.formats import QCOW2, RAW
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.sizes import format_size
from bimetal.devices.flash.cfi import Geometry
from bimetal.devices.flash.pflash import PFlash
from bimetal.machine.chassis import Chassis

__all__ = ["FLASH_BANKS", "flash_banks"]

FLASH_BANKS = 2


def flash_banks(m: Chassis, bank: Geometry) -> list[PFlash]:
    """Both banks with the user's images, of which the first, for code, is not written to.

    Raises `BimetalError` for images that do not fit.
    """
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
            image = open_flash(path, bank.size, readonly=number == 0) if path else None
            banks.append(PFlash(bank, image))
    except BimetalError:
        for each in banks:
            each.close()
        raise
    return banks


def open_flash(path: str, size: int, *, readonly: bool) -> Block:
    """The image at ``path``, raw unless it is called otherwise; one that is written to has the
    ``size`` of the bank."""
    image = open_disk(path, readonly=readonly, format=QCOW2 if path.endswith(".qcow2") else RAW)
    if image.size > size or (image.size < size and not readonly):
        image.close()
        raise BimetalError(
            f"the flash image {path} has {format_size(image.size)}, a bank {format_size(size)}",
            f"run 'truncate -s {size} FILE' on a copy of it",
            ExitCode.DATA,
        )
    return image
