"""The flash banks of a board, with the user's images in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import LateModule
from bimetal.devices.flash.cfi import Geometry
from bimetal.devices.flash.pflash import PFlash
from bimetal.machine.chassis import Chassis

if TYPE_CHECKING:
    from bimetal.boards import flash_images
else:
    flash_images = LateModule("bimetal.boards.flash_images")

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
                arriving = m.config.arriving
                image = flash_images.open_flash(path, bank.size, number == 0, arriving=arriving)
            if firmware is not None and number == 0:
                image = flash_images.holding(firmware)
            banks.append(PFlash(bank, image))
    except BimetalError:
        for each in banks:
            each.close()
        raise
    return banks
