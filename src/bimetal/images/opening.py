"""Images opened for as long as something is done with them."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from bimetal.backends.block.block import Block
from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.qcow2.image import Qcow2Image
from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["FULL", "opened", "qcow2", "telling"]

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def telling(what: str) -> Iterator[None]:
    """What the host refuses meanwhile is a `BimetalError` that begins with ``what``."""
    try:
        yield
    except BimetalError:
        raise
    except OSError as error:
        full = error.errno in FULL
        raise BimetalError(
            f"{what}: {error.strerror or error}",
            "make room on its disk, and try again"
            if full
            else "check the host's disk; the end of the output of dmesg may tell more",
            ExitCode.IO_ERROR,
        ) from error


@contextmanager
def opened(
    path: str,
    format: str | None = None,
    *,
    writable: bool = False,
    shared: bool = False,
    backed: bool = True,
    folders: tuple[str, ...] = (),
) -> Iterator[Block]:
    """The disk in the image at ``path``, only read unless it is ``writable``; with ``shared`` even
    if somebody else writes it; without what it lies on if it is not ``backed``. What was written is
    safe at the end. Raises `BimetalError`."""
    disk = open_disk(
        path,
        readonly=not writable,
        lock=not shared,
        format=format,
        folders=folders,
        alone=not backed,
    )
    with telling(f"the image {path!r} cannot be {'written' if writable else 'read'}"):
        try:
            yield disk
            if writable:
                disk.flush()
        finally:
            disk.close()


def qcow2(disk: Block, what: str) -> Qcow2Image:
    """``disk`` as a qcow2 image, without which there is no ``what``. Raises `BimetalError`."""
    if isinstance(disk, Qcow2Image):
        return disk
    raise BimetalError(
        f"the image {disk.name!r} is not qcow2, and has no {what}",
        "make a qcow2 image of it: bimetal image convert -O qcow2 OLD NEW",
        ExitCode.USAGE,
    )
