"""What is told of an image of a disk."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ImageAt"]


@dataclass(frozen=True)
class ImageAt:
    """An image of a disk: where it is, its format, the bytes of its disk, whether it is only read,
    and the bytes of its clusters, if it has such."""

    path: str
    format: str
    size: int
    readonly: bool
    cluster: int | None = None
