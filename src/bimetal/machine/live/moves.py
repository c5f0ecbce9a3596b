"""What is told when disks are about to have other images."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from msgspec import Struct

from bimetal.backends.block.block import Block
from bimetal.machine.live.chain import format_of
from bimetal.machine.live.seat import Seat

__all__ = ["DiskMove", "Moves", "move_of"]


class DiskMove(Struct, frozen=True):
    """A disk that was described by the path ``before`` has the image at ``path`` from now on, which
    has a ``format`` and lies on those at the paths ``below``."""

    path: str
    format: str
    before: str
    below: tuple[str, ...] = ()


Moves = Mapping[str, DiskMove]
"""Those of several disks at one moment, by what they are called."""


def move_of(seat: Seat, image: Block, below: Sequence[Block]) -> DiskMove:
    """The move of the disk at ``seat`` to an image that lies on those ``below``."""
    paths = tuple(os.path.abspath(each.name) for each in below)
    return DiskMove(image.name, format_of(image), seat.config.path, paths)
