"""How disks are stored."""

from __future__ import annotations

from bimetal.backends.block.block import Extent, joined
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.images.opening import opened

__all__ = ["Extent", "extents"]


def extents(
    path: str,
    *,
    format: str | None = None,
    start: int = 0,
    length: int | None = None,
    shared: bool = False,
    folders: tuple[str, ...] = (),
) -> list[Extent]:
    """How the disk in an image is stored, from ``start`` on: what is data, what is zero, in which
    file of its chain, and where."""
    with opened(path, format, shared=shared, folders=folders) as disk:
        if start > disk.size:
            raise BimetalError(
                f"the disk in {path!r} ends at {disk.size}", "begin before that", ExitCode.USAGE
            )
        rest = disk.size - start
        return list(joined(disk.extents(start, rest if length is None else min(length, rest))))
