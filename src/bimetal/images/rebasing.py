"""Images laid on other images."""

from __future__ import annotations

import os
from contextlib import ExitStack

from bimetal.backends.block.block import Block
from bimetal.backends.block.formats import check_format
from bimetal.backends.block.qcow2.changes import lay_on
from bimetal.backends.block.qcow2.image import Qcow2Image
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.paths import same_file
from bimetal.images.copying import CHUNK
from bimetal.images.opening import opened, qcow2
from bimetal.images.progress import Progress, no_progress

__all__ = ["rebase"]


def rebase(
    path: str,
    backing: str | None,
    *,
    format: str | None = None,
    backing_format: str | None = None,
    unsafe: bool = False,
    folders: tuple[str, ...] = (),
    progress: Progress = no_progress,
) -> None:
    """Lay the image at ``path`` on another ``backing`` file of ``backing_format``, or on none. Its
    disk shows the same: what differs is copied first, unless that is ``unsafe``: then only the name
    is changed, and neither the old nor the new backing file is looked at."""
    if backing is not None and backing_format is None:
        raise BimetalError(
            f"nothing says which format the backing file {backing!r} has",
            "add -F raw or -F qcow2",
            ExitCode.USAGE,
        )
    if backing_format is not None:
        check_format(backing_format)
    with ExitStack() as stack:
        disk = stack.enter_context(
            opened(path, format, writable=True, folders=folders, backed=not unsafe)
        )
        image = qcow2(disk, "backing file")
        if not unsafe:
            new = None
            if backing is not None:
                where = os.path.join(os.path.dirname(path), backing)
                _refuse_circle(where, path)
                new = stack.enter_context(
                    opened(where, backing_format, shared=True, folders=folders)
                )
            _copy_differences(image, image.backing, new, progress)
        lay_on(image, backing, backing_format)


def _refuse_circle(where: str, path: str) -> None:
    if same_file(where, path):
        raise BimetalError(
            f"the image {path!r} cannot lie on itself", "name another file", ExitCode.USAGE
        )


def _copy_differences(
    image: Qcow2Image, old: Block | None, new: Block | None, progress: Progress
) -> None:
    """Copy to ``image`` what it shows of ``old``, and ``new`` does not show."""
    for extent in list(image.extents(0, image.size)):
        if extent.present and extent.depth == 0:
            continue
        for at in range(extent.start, extent.stop, CHUNK):
            progress(at / image.size)
            length = min(CHUNK, extent.stop - at)
            before, after = _shown(old, at, length), _shown(new, at, length)
            if before != after:
                _copy_clusters(image, at, before, after)
    progress(1.0)


def _copy_clusters(image: Qcow2Image, start: int, before: bytes, after: bytes) -> None:
    """Write the parts of ``before`` that differ, at most to the end of their clusters."""
    cluster = image.header.cluster
    at = 0
    while at < len(before):
        stop = min(at + cluster - (start + at) % cluster, len(before))
        piece = before[at:stop]
        if piece != after[at:stop]:
            if any(piece):
                image.write(start + at, piece)
            else:
                image.write_zeroes(start + at, stop - at, unmap=True)
        at = stop


def _shown(disk: Block | None, start: int, length: int) -> bytes:
    inside = 0 if disk is None else max(min(length, disk.size - start), 0)
    if disk is None or not inside:
        return bytes(length)
    return disk.read(start, inside).ljust(length, b"\0")
