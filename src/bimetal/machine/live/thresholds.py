"""Thresholds of images that are in use: how far into an image, or its file, writes may come before
somebody is told."""

from __future__ import annotations

from collections.abc import Callable

from bimetal.backends.block.block import Block
from bimetal.backends.block.qcow2.image import Qcow2Image
from bimetal.backends.block.threshold import Threshold
from bimetal.machine.live.bitmaps import bitmaps_of

__all__ = ["set_threshold"]


def set_threshold(image: Block, limit: int, tell: Callable[[int], None], *, of_file: bool) -> None:
    """Have ``tell`` called once when something is written beyond ``limit`` bytes of the disk, or of
    the file if it is one ``of_file``, with how many bytes beyond; 0 for never. Raises
    `BimetalError` and OSError for an image that is only read. Call while nobody writes to it."""
    bitmaps, threshold = bitmaps_of(image), Threshold(limit, tell) if limit else None
    if not isinstance(image, Qcow2Image) or not image.is_inside or not of_file:
        bitmaps.watch(threshold)
        return
    beyond = image.writer().references.end() * image.header.cluster - limit
    image.file.threshold = threshold
    passed = limit and beyond > 0  # the next write comes there, too
    bitmaps.watch(Threshold(0, lambda _: tell(beyond)) if passed else None)
