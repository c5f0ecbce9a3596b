"""Images that disks had before jobs gave them others: what their dirty bitmaps say is still asked
for, by whoever takes it over into those of the images that came in their place."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bimetal.backends.block.block import Block

__all__ = ["Departed"]

LIMIT = 256
"""Images that are remembered, the last ones."""


class Departed:
    """Those that have bitmaps. They are closed, and only read."""

    def __init__(self) -> None:
        self._images: dict[str, Block] = {}
        self._lock = threading.Lock()

    def keep(self, images: Iterable[Block]) -> None:
        """Remember ``images``, which are closed."""
        with self._lock:
            for image in images:
                image.readonly = True
                if image.bitmaps is not None and [*image.bitmaps]:
                    self._images[os.path.abspath(image.name)] = image
            for path in [*self._images][:-LIMIT]:
                del self._images[path]

    def forget(self, path: str) -> None:
        """Nobody asks for the image at ``path`` any more."""
        with self._lock:
            self._images.pop(os.path.abspath(path), None)

    def __iter__(self) -> Iterator[Block]:
        with self._lock:
            return iter([*self._images.values()])
