"""A dirty bitmap as a backup uses it: what it says is copied, and it begins anew."""

from __future__ import annotations

from collections.abc import Callable

from bimetal.backends.block.bitmaps import DirtyBitmap
from bimetal.backends.block.block import Block
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.machine.live.bitmaps import checked, outdate
from bimetal.machine.live.dirty import Dirty
from bimetal.machine.live.mirror import NONE, SYNCS

__all__ = ["DECIDES", "MODES", "BitmapLoan", "check_words", "lend"]

ON_SUCCESS, NEVER, ALWAYS = MODES = ("on-success", "never", "always")
"""When a bitmap does not say any more what was copied: when the backup has succeeded; never; or
always, in which case it still says what a backup that has failed has not copied."""

INCREMENTAL, _ = DECIDES = ("incremental", "bitmap")
"""Kinds of backups of which the bitmap says what they copy."""


class BitmapLoan:
    """The bitmap ``bitmap`` of ``image``, of which a backup with that ``mode`` makes use."""

    def __init__(self, image: Block, bitmap: DirtyBitmap, mode: str, *, decides: bool):
        self._image, self._bitmap, self._mode = image, bitmap, mode
        self.decides = decides
        """Whether it says what is to be copied."""

    def take(self, mark: Callable[[int, int], None]) -> None:
        """The backup begins: ``mark`` what is to be copied, if the bitmap decides that. No request
        is carried out."""
        if self.decides:
            for offset, length in self._bitmap.runs():
                mark(offset, length)
        self._bitmap.lend()

    def outdate(self) -> None:
        """What the image keeps of the bitmap is about to be wrong. Raises OSError."""
        outdate(self._image, self._bitmap)

    def give_back(self, left: Dirty, *, done: bool) -> None:
        """The backup is ``done``, or given up, and has ``left`` something."""
        valid = self._mode == NEVER or (self._mode == ON_SUCCESS and not done)
        if self._mode == ALWAYS and not done:
            at = 0
            while (found := left.next(at)) is not None:
                self._bitmap.mark(*found)
                at = sum(found)
        self._bitmap.give_back(valid=valid)


def lend(image: Block, sync: str, name: str, mode: str) -> BitmapLoan | None:
    """The bitmap that a backup of such words uses, if it uses one. Raises `BimetalError`."""
    if not name:
        return None
    bitmap = checked(image, name, readonly=mode == NEVER)
    return BitmapLoan(image, bitmap, mode or ON_SUCCESS, decides=sync in DECIDES)


def check_words(sync: str, name: str, mode: str) -> None:
    """Raise `BimetalError` unless there can be a backup of that kind with a dirty bitmap of that
    name, and that mode, both of which may be ""."""
    if sync not in (*SYNCS, *DECIDES):
        raise _wrong(f"no sync {sync!r}", f"write {', '.join((*SYNCS, *DECIDES))}")
    if not name:
        if sync in DECIDES:
            raise _wrong(f"a backup of sync={sync} needs a dirty bitmap", "name it: bitmap")
        if mode:
            raise _wrong("there is a bitmap-mode and no dirty bitmap", "name it: bitmap")
        return
    if sync == NONE:
        raise _wrong("a backup of sync=none copies nothing that it could mark", "leave bitmap away")
    if sync == INCREMENTAL and mode not in ("", ON_SUCCESS):
        raise _wrong(f"an incremental backup has no bitmap-mode {mode!r}", "say sync=bitmap")
    if sync != INCREMENTAL and mode not in MODES:
        raise _wrong(f"no bitmap-mode {mode!r}", f"choose from {', '.join(MODES)}")
    if sync not in DECIDES and mode == NEVER:
        raise _wrong(
            f"a backup of sync={sync} and bitmap-mode=never has no use for a dirty bitmap",
            "leave it away, or say sync=bitmap",
        )


def _wrong(cause: str, remedy: str) -> BimetalError:
    return BimetalError(cause, remedy, ExitCode.USAGE)
