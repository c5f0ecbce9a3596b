"""A disk by the path of its image."""

from __future__ import annotations

from bimetal.backends.block.block import Block
from bimetal.backends.block.overlay import Overlay
from bimetal.backends.block.raw import RawImage

__all__ = ["open_disk"]


def open_disk(
    path: str, *, readonly: bool = False, snapshot: bool = False, lock: bool = True
) -> Block:
    """The raw image at ``path``. With ``snapshot`` the guest may write, to a temporary layer
    only: the image itself is opened for reading and stays as it is.

    Raises `BimetalError` for an image that cannot serve as a disk.
    """
    image = RawImage(path, readonly=readonly or snapshot, lock=lock)
    return Overlay(image) if snapshot else image
