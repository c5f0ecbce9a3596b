"""The dirty bitmaps of disks, which tell what has changed since a moment: a part of `LiveDisks`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from os import PathLike, fsdecode

from bimetal.machine.live.bitmaps import (
    AddBitmap,
    BitmapAt,
    ClearBitmap,
    MergeBitmaps,
    RecordBitmap,
    RemoveBitmap,
)
from bimetal.machine.live.moment import Action

__all__ = ["Marking"]

Path = str | PathLike[str]


class Marking:
    """What is done to dirty bitmaps. They belong to an image of a disk: that at the path ``image``,
    or the one that the guest writes to. All methods raise `BimetalError`, and then nothing has
    changed."""

    @abstractmethod
    def at_once(self, actions: Sequence[Action]) -> None:
        """Do several things at one moment."""

    def add_bitmap(
        self, drive: str, name: str, *, image: Path = "", granularity: int = 0,
        persistent: bool = False, recording: bool = True,
    ) -> None:  # fmt: skip
        """Have what changes from now on be marked, unless it is not ``recording``. ``granularity``
        bytes are told apart, a power of two from 512 to 2 GiB, or, for 0, as many as suit the
        image. A qcow2 image keeps one that is ``persistent`` beyond the end of the machine."""
        place = BitmapAt(drive, name, fsdecode(image))
        self.at_once([AddBitmap(place, granularity, persistent, recording)])

    def remove_bitmap(self, drive: str, name: str, *, image: Path = "") -> None:
        """Have a bitmap no more."""
        self.at_once([RemoveBitmap(BitmapAt(drive, name, fsdecode(image)))])

    def clear_bitmap(self, drive: str, name: str, *, image: Path = "") -> None:
        """Have a bitmap mark nothing."""
        self.at_once([ClearBitmap(BitmapAt(drive, name, fsdecode(image)))])

    def record_bitmap(self, drive: str, name: str, *, on: bool, image: Path = "") -> None:
        """Have a bitmap mark what changes from now on, or stay as it is."""
        self.at_once([RecordBitmap(BitmapAt(drive, name, fsdecode(image)), on)])

    def merge_bitmaps(
        self, drive: str, name: str, sources: Iterable[str], *, image: Path = ""
    ) -> None:
        """Have a bitmap mark what others of the same image mark, too."""
        path = fsdecode(image)
        others = tuple(BitmapAt(drive, each, path) for each in sources)
        self.at_once([MergeBitmaps(BitmapAt(drive, name, path), others)])
