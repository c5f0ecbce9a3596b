"""Longer and shorter disks."""

from __future__ import annotations

from bimetal.backends.block.block import SECTOR, Block
from bimetal.backends.block.qcow2.changes import grow, shrink
from bimetal.backends.block.qcow2.image import Qcow2Image
from bimetal.backends.block.qcow2.preallocate import preallocate
from bimetal.backends.block.raw import RawImage
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.sizes import format_size, parse_size
from bimetal.images.opening import opened

__all__ = ["resize", "resize_disk"]


def resize(
    path: str,
    size: int | str,
    *,
    format: str | None = None,
    shrinking: bool = False,
    preallocation: str = "off",
    folders: tuple[str, ...] = (),
) -> None:
    """Make the disk in an image ``size`` bytes long; a text may also be like ``"8G"``, or
    ``"+1G"`` and ``"-1G"`` for more or less than now. What is new reads as zeroes; the end is only
    cut off if ``shrinking`` is allowed."""
    with opened(path, format, writable=True, folders=folders) as disk:
        old, new = disk.size, _size(disk, size)
        if new < old and not shrinking:
            raise BimetalError(
                f"the disk in {path!r} would lose {format_size(old - new)} at its end",
                "if nothing is needed there, say so: --shrink",
                ExitCode.USAGE,
            )
        if preallocation != "off" and new < old:
            raise _wrong("what is cut off has no preallocation", "leave that away")
        resize_disk(disk, new, preallocation)


def resize_disk(disk: Block, size: int, preallocation: str = "off") -> None:
    """Make ``disk`` have ``size`` bytes. Raises `BimetalError` where it cannot, and OSError."""
    if isinstance(disk, Qcow2Image):
        _resize_qcow2(disk, size, preallocation)
    elif isinstance(disk, RawImage):
        old = disk.size
        disk.resize(size)
        if preallocation != "off" and size > old:
            disk.preallocate(old, size, full=preallocation == "full")
    else:
        raise _wrong(f"the image {disk.name!r} has a format that is not written", "convert it")


def _resize_qcow2(image: Qcow2Image, size: int, preallocation: str) -> None:
    old = image.size
    if size < old:
        shrink(image, size)
        return
    if preallocation != "off" and image.backing is not None and image.header.entry_words == 1:
        raise _wrong("what has a place in an image does not show its backing file", "leave it away")
    grow(image, size)
    if preallocation != "off":
        preallocate(image, old, size, full=preallocation != "metadata")


def _size(disk: Block, size: int | str) -> int:
    text = str(size).strip()
    sign = text[0] if isinstance(size, str) and text[:1] in "+-" else ""
    length = parse_size(text[1:] if sign else size)
    new = {"+": disk.size + length, "-": disk.size - length, "": length}[sign]
    if new <= 0:
        raise _wrong(f"nothing would be left of the {disk.size} bytes of the disk", "leave a part")
    return new + -new % SECTOR


def _wrong(cause: str, remedy: str) -> BimetalError:
    return BimetalError(cause, remedy, ExitCode.USAGE)
