"""Changes given to the image that a disk lies on."""

from __future__ import annotations

from contextlib import ExitStack

from bimetal.backends.block.block import Block
from bimetal.backends.block.qcow2.changes import empty
from bimetal.backends.block.qcow2.image import Qcow2Image
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.paths import same_file
from bimetal.images.copying import CHUNK
from bimetal.images.opening import opened, qcow2
from bimetal.images.progress import Progress, Steps, no_progress
from bimetal.images.resizing import resize_disk

__all__ = ["commit"]


def commit(
    path: str,
    *,
    format: str | None = None,
    base: str | None = None,
    keep: bool = False,
    folders: tuple[str, ...] = (),
    progress: Progress = no_progress,
) -> str:
    """Write all that the image at ``path`` has to its backing file, or to the image ``base`` of
    its chain, which shows the same disk then, and to everybody. After that the image at ``path`` is
    emptied, unless it is to ``keep`` what it has, or ``base`` is said: then those between the two
    would show.

    Returns the path of the image that was written. Whatever ends this half-way, the disk at
    ``path`` shows what it did, and it can be begun again.
    """
    with ExitStack() as stack:
        disk = stack.enter_context(opened(path, format, folders=folders))
        image = qcow2(disk, "backing file")
        depth, where, base_format = _base(image, base)
        extents = [e for e in image.extents(0, image.size) if e.present and e.depth < depth]
        # Those below must be let go of before one of them can be written.
        stack.close()
    with (
        opened(path, format, folders=folders, writable=True, backed=False) as top,
        opened(where, base_format, writable=True, folders=folders) as below,
        opened(path, format, folders=folders, shared=True) as shown,
    ):
        if below.size < shown.size:
            resize_disk(below, shown.size)
        steps = Steps(sum(extent.length for extent in extents), progress)
        for extent in extents:
            _give(shown, below, extent.start, extent.stop, zero=extent.zero, steps=steps)
        below.flush()
        if not keep and base is None:
            empty(qcow2(top, "backing file"))
    return where


def _give(source: Block, target: Block, start: int, stop: int, *, zero: bool, steps: Steps) -> None:
    for at in range(start, stop, CHUNK):
        length = min(CHUNK, stop - at)
        if zero:
            target.write_zeroes(at, length, unmap=True)
        else:
            target.write(at, source.read(at, length))
        steps.done(length)


def _base(image: Qcow2Image, base: str | None) -> tuple[int, str, str | None]:
    """The image of the chain of ``image`` to write to: how deep it lies, its path and format."""
    above: Block = image
    depth = 0
    while isinstance(above, Qcow2Image) and above.backing is not None:
        depth += 1
        below = above.backing
        if base is None or same_file(below.name, base):
            return depth, below.name, above.header.backing_format
        above = below
    if depth == 0:
        raise BimetalError(
            f"the image {image.name!r} has no backing file to write to",
            "make a copy of it: bimetal image convert",
            ExitCode.FAILURE,
        )
    raise BimetalError(
        f"the image {base!r} is none that {image.name!r} lies on",
        "bimetal image info --backing-chain tells which it lies on",
        ExitCode.USAGE,
    )
