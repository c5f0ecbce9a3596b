"""The formats of disk images that are read and written."""

from __future__ import annotations

from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["FORMATS", "QCOW2", "RAW", "check_format"]

RAW, QCOW2 = "raw", "qcow2"
FORMATS = (RAW, QCOW2)


def check_format(format: str) -> None:
    """Raise `BimetalError` for what is none of `FORMATS`."""
    if format not in FORMATS:
        raise BimetalError(
            f"there is no image format {format!r} here",
            f"choose from {', '.join(FORMATS)}; qemu-img convert makes them of many others",
            ExitCode.USAGE,
        )
