"""A disk by the path of its image."""

from __future__ import annotations

import os

from bimetal.backends.block.block import Block
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.overlay import Overlay
from bimetal.backends.block.qcow2.header import MAGIC, read_header
from bimetal.backends.block.qcow2.image import Qcow2Image
from bimetal.backends.block.raw import RawImage
from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["FORMATS", "open_disk"]

FORMATS = ("raw", "qcow2")

CHAIN_LIMIT = 32
"""Images on top of each other."""


def open_disk(
    path: str,
    *,
    readonly: bool = False,
    snapshot: bool = False,
    lock: bool = True,
    format: str | None = None,
) -> Block:
    """The disk in the image at ``path``. With ``snapshot`` the guest may write, to a temporary
    layer only: the image itself is opened for reading and stays as it is.

    ``format`` is one of `FORMATS`; without it, a name that ends in ``.qcow2`` means that format
    and any other raw. It is never guessed from the content alone, which a guest can write: a raw
    disk must not turn into an image that names files of the host as its backing file.

    Raises `BimetalError` for an image that cannot serve as a disk.
    """
    disk = _open(path, format, readonly or snapshot, lock, ())
    return Overlay(disk) if snapshot else disk


def _open(
    path: str, format: str | None, readonly: bool, lock: bool, above: tuple[str, ...]
) -> Block:
    if format is not None and format not in FORMATS:
        raise BimetalError(
            f"{path!r}: there is no image format {format!r}",
            f"choose from {', '.join(FORMATS)}",
            ExitCode.USAGE,
        )
    file = ImageFile(path, readonly=readonly, lock=lock)
    try:
        known = format or ("qcow2" if path.endswith(".qcow2") else None)
        if known is None and os.pread(file.fd, len(MAGIC), 0) == MAGIC:
            raise BimetalError(
                f"the disk image {path!r} looks like qcow2, but is not called so",
                "rename it to *.qcow2, or say which format it has: raw or qcow2",
                ExitCode.USAGE,
            )
        return _open_qcow2(file, lock, above) if known == "qcow2" else RawImage(file)
    except OSError as error:
        file.close()
        raise BimetalError(
            f"the disk image {path!r} cannot be read: {error}",
            "check the host's disk, and the image: qemu-img check PATH",
            ExitCode.DATA,
        ) from error
    except BaseException:
        file.close()
        raise


def _open_qcow2(file: ImageFile, lock: bool, above: tuple[str, ...]) -> Block:
    header = read_header(file)
    backing = None
    if header.backing is not None:
        backing = _open_backing(file.path, header.backing, header.backing_format, lock, above)
    try:
        return Qcow2Image(file, header, backing)
    except BaseException:
        if backing is not None:
            backing.close()
        raise


def _open_backing(
    path: str, name: str, format: str | None, lock: bool, above: tuple[str, ...]
) -> Block:
    """The image that the one at ``path`` lies on, which is only read."""
    where = os.path.join(os.path.dirname(path), name)
    chain = (*above, os.path.realpath(path))
    if os.path.realpath(where) in chain or len(chain) > CHAIN_LIMIT:
        raise BimetalError(
            f"the image {path!r} lies on itself, through its backing file {name!r}",
            "give it another backing file: qemu-img rebase -u -F FORMAT -b FILE IMAGE",
            ExitCode.DATA,
        )
    if format is None:
        raise BimetalError(
            f"the image {path!r} does not say which format its backing file {name!r} has",
            f"tell it: qemu-img rebase -u -F raw|qcow2 -b {name} {path}",
            ExitCode.DATA,
        )
    return _open(where, format, True, lock, chain)
