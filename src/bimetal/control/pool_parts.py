"""What pools are, and what is in them."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass

__all__ = ["Pool", "Volume"]


@dataclass(frozen=True)
class Pool:
    """The pool ``name``: its folder, its identity, and whether it is ``active``."""

    name: str
    path: str
    uuid: str
    active: bool = True
    autostart: bool = False
    persistent: bool = True

    @property
    def room(self) -> tuple[int, int]:
        """Bytes of its file system, and how many of them are free; 0 if it is not there."""
        with suppress(OSError):
            found = os.statvfs(self.path)
            return found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
        return 0, 0


@dataclass(frozen=True)
class Volume:
    """An image in a pool: its name and path, its format, the bytes of the disk in it, and those
    that the file takes."""

    name: str
    path: str
    format: str
    capacity: int
    allocation: int
