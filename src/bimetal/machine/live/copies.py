"""Images to which backups copy."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from bimetal.backends.block.block import Block
from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.qcow2.image import Qcow2Image
from bimetal.base.paths import same_file
from bimetal.machine.live.chain import stand_alone

__all__ = ["close_copy", "open_copy"]


def open_copy(sources: Sequence[Block], path: str, **options: Any) -> Block:
    """The image at ``path``, to be written. If it lies on one of ``sources``, as it may that only
    gets what has changed, that is used, which is open already. Raises `BimetalError`."""
    copy = open_disk(path, alone=bool(sources), bitmaps=True, **options)
    if not sources or not isinstance(copy, Qcow2Image) or copy.header.backing is None:
        return copy
    below = os.path.join(os.path.dirname(path), copy.header.backing)
    for source in sources:
        if same_file(source.name, below):
            copy.lie_on(source)
            return copy
    copy.close()
    return open_disk(path, bitmaps=True, **options)


def close_copy(copy: Block, sources: Sequence[Block]) -> None:
    """Close such an image, and none of ``sources``."""
    if isinstance(copy, Qcow2Image) and any(copy.backing is each for each in sources):
        stand_alone(copy)
    copy.close()
