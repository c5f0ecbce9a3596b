"""A disk by the path of its image, and which format that has.

What the user says goes first, then the name: ``*.qcow2`` is qcow2, ``*.vmdk`` VMDK. All else is
raw, unless it begins or ends like another format (`signatures`), which is an error and not a guess:
a guest can write such a beginning into its raw disk, and it would name files of the host to read.
Nor may a guest shut itself out in that way. So a raw image that a guest may write to is remembered
as raw (`remembered`), or where that cannot be, the guest cannot write such a beginning (`guarded`).
"""

from __future__ import annotations

import os
from typing import cast

from msgspec.structs import replace

from bimetal.backends.block.block import Block
from bimetal.backends.block.chain import find_backing, find_data
from bimetal.backends.block.commands import convert_command, rebase_command, unused
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.formats import QCOW2, RAW, READ_ONLY, VMDK, by_name, check_format
from bimetal.backends.block.guarded import GuardedRawImage
from bimetal.backends.block.nbd.address import is_address, parse_address
from bimetal.backends.block.overlay import Overlay
from bimetal.backends.block.purpose import Purpose
from bimetal.backends.block.qcow2.header import MAGIC, peek_backing, read_header
from bimetal.backends.block.qcow2.image import Qcow2Image
from bimetal.backends.block.raw import RawImage
from bimetal.backends.block.remembered import forget_raw, remember_raw, was_raw
from bimetal.backends.block.signatures import EDGE, QCOW2_IMAGE, Kind, looks_like, recognise
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late

__all__ = ["image_format", "open_disk", "seen_format"]


def open_disk(
    path: str,
    *,
    readonly: bool = False,
    snapshot: bool = False,
    lock: bool = True,
    format: str | None = None,
    folders: tuple[str, ...] = (),
    alone: bool = False,
    bitmaps: bool = False,
) -> Block:
    """The disk in the image at ``path``, of the format ``format`` if that is said, or at the
    address ``path`` of an NBD server. With ``snapshot`` the guest may write, to a temporary layer
    only: the image itself is opened for reading and stays as it is. Backing files, and parts of
    the disk, may lie in the folder of the image that names them, and in ``folders``. If it is
    opened ``alone``, no backing file is, and what that has reads as zeroes. With ``bitmaps`` the
    dirty bitmaps in its images are kept up.

    Raises `BimetalError` for an image that cannot serve as a disk.
    """
    if format is not None:
        check_format(format)
    purpose = Purpose(
        readonly, snapshot, format, folders=folders, alone=alone, bitmaps=bitmaps and not snapshot
    )
    disk = _open_served(path, purpose) if is_address(path) else _open(path, purpose, lock, ())
    if not snapshot:
        return disk
    try:
        return Overlay(disk)
    except BaseException:
        disk.close()
        raise


def _open_served(address: str, purpose: Purpose) -> Block:
    """The disk that a server has: whatever its image is, what is served is raw."""
    if purpose.format not in (None, RAW):
        raise BimetalError(
            f"a disk from {address!r} is raw, not {purpose.format}: the server reads its image",
            "leave the format away, and tell it to the server: qemu-nbd -f, or bimetal image serve "
            "--format",
            ExitCode.USAGE,
        )
    open_nbd = late("bimetal.backends.block.nbd.disk:open_nbd")
    return cast(Block, open_nbd(parse_address(address), readonly=purpose.only_read))


def _open(path: str, purpose: Purpose, lock: bool, above: tuple[str, ...]) -> Block:
    expected = purpose.format or by_name(path)
    readonly = purpose.readonly or expected in READ_ONLY
    file = ImageFile(path, replace(purpose, format=expected, readonly=readonly), lock=lock)
    try:
        format = image_format(file, purpose)
        if format == QCOW2:
            return _open_qcow2(file, purpose, lock, above)
        if format in READ_ONLY:
            _check_foreign(file, format, purpose)
            open_foreign = late("bimetal.backends.block.foreign.opening:open_foreign")
            return cast(Block, open_foreign(file, format, purpose, lock=lock))
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


def image_format(file: ImageFile, purpose: Purpose) -> str:
    """The format of the image in ``file``. Raises `BimetalError` where it must be said."""
    if purpose.format is not None:
        return purpose.format
    kind, raw_before = _look_at(file), was_raw(file)
    named = by_name(file.path)
    if named is not None:
        if raw_before and kind is not None and kind.format == named:
            why = f"was a raw disk before, and its name says {named}"
            raise _say_which(file, purpose, named, why)
        return named
    if kind is None or raw_before:
        return RAW
    if kind.format is not None:
        why = f"looks like {kind.format}, but nothing says that it is"
        raise _say_which(file, purpose, kind.format, why)
    raise BimetalError(
        f"{purpose.called(file.path)} is {kind.what}, which is not read",
        f"add format=raw if it is the disk of a guest, which may have written that itself; if not, "
        f"{kind.remedy(file.path)}",
        ExitCode.DATA,
    )


def seen_format(file: ImageFile) -> str:
    """The format that the bytes in ``file`` look like, which a guest may have written: it tells
    what is there, and not what that may be used as."""
    kind = _look_at(file)
    return RAW if was_raw(file) or kind is None or kind.format is None else kind.format


def _look_at(file: ImageFile) -> Kind | None:
    return recognise(*_edges(file))


def _edges(file: ImageFile) -> tuple[bytes, bytes]:
    tail = max(file.length - EDGE, 0)
    return os.pread(file.fd, EDGE, 0), os.pread(file.fd, EDGE, tail)


def _open_raw(file: ImageFile, purpose: Purpose) -> Block:
    if file.readonly or remember_raw(file) or purpose.format == RAW:
        return RawImage(file)
    return GuardedRawImage(file)


def _open_qcow2(file: ImageFile, purpose: Purpose, lock: bool, above: tuple[str, ...]) -> Block:
    _check_qcow2(file, purpose)
    header = read_header(file)
    backing = None
    if header.backing is not None and not purpose.alone:
        chain = (*above, file.path)
        name, format, folders = header.backing, header.backing_format, purpose.folders
        where = find_backing(file.path, name, format, chain, folders)
        under = Purpose(
            format=format, over=file.path, name=name, folders=folders, bitmaps=purpose.bitmaps
        )
        backing = _open(where, under, lock, chain)
    data = None
    try:
        if header.data_file is not None:
            data = _open_data(file, purpose, lock, header.data_file)
        image = Qcow2Image(file, header, backing, data, bitmaps=purpose.bitmaps)
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
    where = find_data(file.path, name, purpose.folders)
    under = Purpose(purpose.only_read, format=RAW, over=file.path, name=name, is_data=True)
    return ImageFile(where, under, lock=lock)


def _check_qcow2(file: ImageFile, purpose: Purpose) -> None:
    """Raise `BimetalError` for what does not even begin like qcow2."""
    kind = _look_at(file)
    if kind not in (None, QCOW2_IMAGE) or os.pread(file.fd, len(MAGIC), 0) != MAGIC:
        raise _mistaken(file, QCOW2, kind, purpose)


def _check_foreign(file: ImageFile, format: str, purpose: Purpose) -> None:
    """Raise `BimetalError` for what does not even begin like ``format``, or is to be written."""
    if not looks_like(format, *_edges(file)):
        raise _mistaken(file, format, _look_at(file), purpose)
    if not purpose.only_read:
        new = unused(os.path.splitext(file.path)[0] + ".qcow2")
        raise BimetalError(
            f"{purpose.called(file.path)} is of the format {format}, which is only read",
            "add readonly, or snapshot to have discarded at the end what the guest writes; or make "
            f"a qcow2 image of it: {convert_command(file.path, format, new)}",
            ExitCode.USAGE,
        )


def _mistaken(file: ImageFile, format: str, kind: Kind | None, purpose: Purpose) -> BimetalError:
    """The error for an image that is to be of a ``format`` and looks like ``kind``."""
    path = file.path
    if purpose.over is not None:
        remedy = f"if it is raw, say so: {rebase_command(purpose.over, RAW, purpose.name)}"
    elif kind is None:
        remedy = "if it is raw, add format=raw; if not, it is damaged: fetch or copy it again"
    elif kind.format is not None:
        remedy = f"if it was made as one, add format={kind.format}"
    else:
        remedy = kind.remedy(path)
    what = f"is {kind.what}" if kind is not None else "does not begin like one"
    return BimetalError(
        f"{purpose.called(path)} is to be {format}, but {what}", remedy, ExitCode.DATA
    )


def _say_which(file: ImageFile, purpose: Purpose, format: str, why: str) -> BimetalError:
    """The error for an image of which only the user can know what it is."""
    remedy = (
        "add format=raw if it is the disk of a guest, which may have written that itself, or "
        f"format={format} if it was made as one"
    )
    if format == QCOW2 and (backing := peek_backing(file)):
        remedy += f" and may read the file {backing!r}"
    elif format == VMDK:
        remedy += " and may read the files that it names"
    return BimetalError(f"{purpose.called(file.path)} {why}", remedy, ExitCode.USAGE)
