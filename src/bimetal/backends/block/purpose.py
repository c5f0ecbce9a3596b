"""What an image is opened for, which decides what helps if it cannot be."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["Purpose"]


class Purpose(Struct, frozen=True):
    """An image of the format ``format``, if that is said, opened for a guest that only reads it
    (``readonly``), or that writes to a temporary layer above it (``snapshot``); or as the backing
    file of the image at ``over``, which calls it ``name``, or as its data file (``is_data``).
    ``folders`` are those in which the files may lie that the image names, besides its own: see
    `folders`. An image opened ``alone`` is opened without what it lies on. ``bitmaps`` says whether
    the dirty bitmaps in it are kept up while it is written."""

    readonly: bool = False
    snapshot: bool = False
    format: str | None = None
    over: str | None = None
    name: str = ""
    is_data: bool = False
    folders: tuple[str, ...] = ()
    alone: bool = False
    bitmaps: bool = False

    @property
    def only_read(self) -> bool:
        """Whether the image itself is not written to."""
        return self.readonly or self.snapshot or (self.over is not None and not self.is_data)

    def called(self, path: str) -> str:
        """The image at ``path``, as the subject of a sentence."""
        if self.over is None:
            return f"the disk image {path!r}"
        if self.is_data:
            return f"the file {path!r}, which has the data of {self.over!r},"
        return f"the image {path!r}, on which {self.over!r} lies,"
