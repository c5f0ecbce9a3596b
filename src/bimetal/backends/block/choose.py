"""A disk by the path of its image, and which format that has.

What the user says goes first, then the name: ``*.qcow2`` is qcow2. All else is raw, unless it
begins or ends like another format (`signatures`), which is an error and not a guess: a guest can
write such a beginning into its raw disk, and as qcow2 it would name files of the host to read.
Nor may a guest shut itself out in that way. So a raw image that a guest may write to is remembered
as raw (`remembered`), or where that cannot be, the guest cannot write such a beginning (`guarded`).
"""

from __future__ import annotations

import os
from dataclasses import replace

from bimetal.backends.block.block import Block
from bimetal.backends.block.chain import find_backing, find_data
from bimetal.backends.block.commands import rebase_command
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.formats import QCOW2, RAW, check_format
from bimetal.backends.block.guarded import GuardedRawImage
from bimetal.backends.block.overlay import Overlay
from bimetal.backends.block.purpose import Purpose
from bimetal.backends.block.qcow2.header import MAGIC, peek_backing, read_header
from bimetal.backends.block.qcow2.image import Qcow2Image
from bimetal.backends.block.raw import RawImage
from bimetal.backends.block.remembered import forget_raw, remember_raw, was_raw
from bimetal.backends.block.signatures import EDGE, QCOW2_IMAGE, Kind, recognise
from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["open_disk"]


def open_disk(
    path: str,
    *,
    readonly: bool = False,
    snapshot: bool = False,
    lock: bool = True,
    format: str | None = None,
) -> Block:
    """The disk in the image at ``path``, of the format ``format`` if that is said. With
    ``snapshot`` the guest may write, to a temporary layer only: the image itself is opened for
    reading and stays as it is.

    Raises `BimetalError` for an image that cannot serve as a disk.
    """
    if format is not None:
        check_format(format)
    disk = _open(path, Purpose(readonly, snapshot, format), lock, ())
    if not snapshot:
        return disk
    try:
        return Overlay(disk)
    except BaseException:
        disk.close()
        raise


def _open(path: str, purpose: Purpose, lock: bool, above: tuple[str, ...]) -> Block:
    file = ImageFile(path, replace(purpose, format=purpose.format or _by_name(path)), lock=lock)
    try:
        if _format_of(file, purpose) == QCOW2:
            return _open_qcow2(file, purpose, lock, above)
        return _open_raw(file, purpose)
    except OSError as error:
        file.close()
        raise BimetalError(
            f"{purpose.called(path)} cannot be read: {error}",
            "check the host's disk; the end of the output of dmesg may tell more",
            ExitCode.DATA,
        ) from error
    except BaseException:
        file.close()
        raise


def _by_name(path: str) -> str | None:
    return QCOW2 if path.endswith(".qcow2") else None


def _format_of(file: ImageFile, purpose: Purpose) -> str:
    """The format of the image in ``file``. Raises `BimetalError` where it must be said."""
    if purpose.format is not None:
        return purpose.format
    kind, raw_before = _look_at(file), was_raw(file)
    if _by_name(file.path) == QCOW2:
        if raw_before and kind is QCOW2_IMAGE:
            raise _say_which(file, purpose, "was a raw disk before, and its name says qcow2")
        return QCOW2
    if kind is None or raw_before:
        return RAW
    if kind is QCOW2_IMAGE:
        raise _say_which(file, purpose, "looks like qcow2, but nothing says that it is")
    raise BimetalError(
        f"{purpose.called(file.path)} is {kind.what}, which is not read",
        f"add format=raw if it is the disk of a guest, which may have written that itself; if not, "
        f"{kind.remedy(file.path)}",
        ExitCode.DATA,
    )


def _look_at(file: ImageFile) -> Kind | None:
    tail = max(file.length - EDGE, 0)
    return recognise(os.pread(file.fd, EDGE, 0), os.pread(file.fd, EDGE, tail))


def _open_raw(file: ImageFile, purpose: Purpose) -> Block:
    if file.readonly or remember_raw(file) or purpose.format == RAW:
        return RawImage(file)
    return GuardedRawImage(file)


def _open_qcow2(file: ImageFile, purpose: Purpose, lock: bool, above: tuple[str, ...]) -> Block:
    _check_qcow2(file, purpose)
    header = read_header(file)
    backing = None
    if header.backing is not None:
        chain = (*above, file.path)
        where = find_backing(file.path, header.backing, header.backing_format, chain)
        under = Purpose(format=header.backing_format, over=file.path, name=header.backing)
        backing = _open(where, under, lock, chain)
    data = None
    try:
        if header.data_file is not None:
            data = _open_data(file, purpose, lock, header.data_file)
        image = Qcow2Image(file, header, backing, data)
    except BaseException:
        for opened in (backing, data):
            if opened is not None:
                opened.close()
        raise
    if not file.readonly:
        forget_raw(file)
    return image


def _open_data(file: ImageFile, purpose: Purpose, lock: bool, name: str) -> ImageFile:
    """The external data file of the image in ``file``, for the same purpose."""
    where = find_data(file.path, name)
    under = Purpose(purpose.only_read, format=RAW, over=file.path, name=name, is_data=True)
    return ImageFile(where, under, lock=lock)


def _check_qcow2(file: ImageFile, purpose: Purpose) -> None:
    """Raise `BimetalError` for what does not even begin like qcow2."""
    path, kind = file.path, _look_at(file)
    if kind in (None, QCOW2_IMAGE) and os.pread(file.fd, len(MAGIC), 0) == MAGIC:
        return
    if purpose.over is not None:
        remedy = f"if it is raw, say so: {rebase_command(purpose.over, RAW, purpose.name)}"
    elif kind is not None:
        remedy = kind.remedy(path)
    else:
        remedy = "if it is raw, add format=raw; if not, it is damaged: fetch or copy it again"
    what = f"is {kind.what}" if kind is not None else "does not begin like one"
    raise BimetalError(f"{purpose.called(path)} is to be qcow2, but {what}", remedy, ExitCode.DATA)


def _say_which(file: ImageFile, purpose: Purpose, why: str) -> BimetalError:
    """The error for an image of which only the user can know what it is."""
    remedy = (
        "add format=raw if it is the disk of a guest, which may have written that itself, or "
        "format=qcow2 if it was made as one"
    )
    backing = peek_backing(file)
    if backing:
        remedy += f" and may read the file {backing!r}"
    return BimetalError(f"{purpose.called(file.path)} {why}", remedy, ExitCode.USAGE)
