"""Which of the formats that are only read an image has."""

from __future__ import annotations

from bimetal.backends.block.block import Block
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.foreign.vdi import VdiImage
from bimetal.backends.block.foreign.vhd import open_vhd
from bimetal.backends.block.foreign.vhdx import VhdxImage
from bimetal.backends.block.foreign.vmdk import VmdkImage
from bimetal.backends.block.formats import VDI, VHDX, VMDK, VPC
from bimetal.backends.block.purpose import Purpose

__all__ = ["open_foreign"]


def open_foreign(file: ImageFile, format: str, purpose: Purpose, *, lock: bool = True) -> Block:
    """The disk in ``file``, of a format of `READ_ONLY`. Raises `BimetalError` for an image that
    cannot be read, and OSError."""
    if format == VMDK:
        return VmdkImage(file, purpose, lock=lock)
    return {VDI: VdiImage, VHDX: VhdxImage, VPC: open_vhd}[format](file)
