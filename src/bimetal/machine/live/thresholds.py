"""Thresholds of images that are in use: how far into an image, or its file, writes may come before
somebody is told."""

from __future__ import annotations

from collections.abc import Callable

from bimetal.backends.block.block import Block
from bimetal.backends.block.qcow2.image import Qcow2Image
from bimetal.backends.block.threshold import Passed, Threshold
from bimetal.machine.live.bitmaps import bitmaps_of

__all__ = ["set_threshold"]


def set_threshold(image: Block, limit: int, tell: Callable[[int], None], *, of_file: bool) -> None:
    """Have ``tell`` called once when something is written beyond ``limit`` bytes of the disk, or of
    the file if it is one ``of_file``, with how many bytes beyond; 0 for never. Raises
    `BimetalError` and OSError for an image that is only read. Call while nobody writes to it."""
    bitmaps, threshold = bitmaps_of(image), Threshold(limit, tell) if limit else None
    told: Threshold | Passed | None = threshold
    if isinstance(image, Qcow2Image) and image.is_inside and of_file:
        end = image.writer(changes=False).references.end() * image.header.cluster
        image.file.threshold = threshold
        told = Passed(threshold, end) if threshold is not None and end > limit else None
    bitmaps.watch(threshold, of_file=of_file, told=told)
