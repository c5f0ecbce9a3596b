"""The formats of disk images, by the names that QEMU has for them."""

from __future__ import annotations

import os

from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["FORMATS", "QCOW2", "RAW", "READ_ONLY", "VDI", "VHDX", "VMDK", "VPC", "by_name"]
__all__ += ["check_format"]

RAW, QCOW2 = "raw", "qcow2"
VDI, VHDX, VMDK, VPC = "vdi", "vhdx", "vmdk", "vpc"

READ_ONLY = (VDI, VHDX, VMDK, VPC)
"""Formats of other programs, which are read and never written."""

FORMATS = (RAW, QCOW2, *READ_ONLY)

SUFFIXES = {
    ".qcow2": QCOW2,
    ".vdi": VDI,
    ".vhd": VPC,
    ".vhdx": VHDX,
    ".vmdk": VMDK,
    ".vpc": VPC,
}

OTHER_NAMES = {"vhd": VPC, "img": RAW, "iso": RAW, "dd": RAW}


def by_name(path: str) -> str | None:
    """The format that the name of an image says, if it says one."""
    return SUFFIXES.get(os.path.splitext(path)[1].lower())


def check_format(format: str) -> None:
    """Raise `BimetalError` for what is none of `FORMATS`."""
    if format in FORMATS:
        return
    known = OTHER_NAMES.get(format.lower(), format.lower())
    remedy = f"choose from {', '.join(FORMATS)}; qemu-img convert makes them of many others"
    if known in FORMATS:
        remedy = f"it is called {known}; {remedy}"
    raise BimetalError(f"there is no image format {format!r} here", remedy, ExitCode.USAGE)
