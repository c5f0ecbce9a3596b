"""A copy of a disk as it is at the moment when the job begins (``blockdev-backup``)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from bimetal.backends.block.block import Block
from bimetal.backends.block.watched import WatchedDisk
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.machine.live.dirty import GRANULE, Dirty
from bimetal.machine.live.job import Job, Terms
from bimetal.machine.live.mirror import FULL, NONE, SYNCS, check_target, is_missing
from bimetal.machine.live.moving import WriteFailed, give, survey, take
from bimetal.machine.live.news import JobNews
from bimetal.machine.live.seat import Seat

__all__ = ["Backup"]

BITMAPS = ("incremental", "bitmap")


class Backup(Job):
    """Copies the disk to ``target``, which is closed in the end. What the guest is about to change
    is copied before. If that fails, the backup does, and not the guest.

    A `Watcher`: each part that is left to copy is copied once, by whoever comes first.
    """

    kind = "backup"

    def __init__(
        self,
        terms: Terms,
        seat: Seat,
        tell: Callable[[JobNews], None],
        target: Block,
        sync: str,
    ):
        super().__init__(terms, seat.name, tell)
        if sync in BITMAPS:
            raise BimetalError(
                f"a backup of sync={sync} needs a dirty bitmap, and those are not kept up here",
                "make a full one: sync=full",
                ExitCode.UNAVAILABLE,
            )
        if sync not in SYNCS or sync == NONE:
            raise BimetalError(f"no sync {sync!r}", "write full or top", ExitCode.USAGE)
        self.seat, self.source, self._target, self._sync = seat, seat.image, target, sync
        check_target(self.source, target)
        self._left = Dirty(self.source.size)
        self._copying = threading.Lock()
        self._broken: OSError | None = None
        self._watches = False

    @property
    def total(self) -> int:
        """See `Job.total`."""
        return self._done + self._left.bytes

    def prepare(self, *, standing: bool) -> None:
        """See `Job.prepare`."""
        self.seat.visit(self._begin, lambda _: self._watch(), standing=standing)

    def work(self) -> None:
        """See `Job.work`."""
        while self._left.next() is not None:
            try:
                count = self.seat.visit(self._copy)
            except OSError as error:
                self.failed(error, reading=not isinstance(error, WriteFailed))
                continue
            self.pace(count)
            self._check()
        self._check()

    def switch(self) -> None:
        """See `Job.switch`."""
        self.seat.visit(self._target.flush, lambda _: self._unwatch())
        self._target.close()

    def undo(self) -> None:
        """See `Job.undo`."""
        self._broken = self._broken or OSError()
        with suppress(BimetalError):  # the disk is gone
            self.seat.visit(lambda: None, lambda _: self._unwatch())
        self._target.close()

    def ready(self, offset: int, length: int) -> bool:
        """See `Watcher.ready`."""
        return self._broken is not None or not self._has_left(offset, length)

    def before(self, offset: int, length: int) -> None:
        """See `Watcher.before`."""
        start = offset - offset % GRANULE
        stop = min(-(-(offset + length) // GRANULE) * GRANULE, self.source.size)
        with self._copying:
            while self._broken is None and (found := self._left.next(start)) is not None:
                at = found[0]
                if at >= stop:
                    break
                try:
                    self._move(at, min(found[1], stop - at))
                except OSError as error:
                    self._broken = error

    def _begin(self) -> None:
        if self._sync == FULL:
            self._left.mark(0, self.source.size)
            return
        at, missing = 0, partial(is_missing, sync=self._sync)
        while at < self.source.size:
            at = survey(self.source, at, missing, self._left.mark)

    def _watch(self) -> None:
        self.seat.exchange(WatchedDisk(self.source, self))
        self._watches = True

    def _unwatch(self) -> None:
        if self._watches:
            self.seat.exchange(self.source)
            self._watches = False

    def _has_left(self, offset: int, length: int) -> bool:
        found = self._left.next(offset)
        return found is not None and found[0] < offset + length

    def _copy(self) -> int:
        """Copy what is left first, now that the guest cannot be quicker; how many bytes."""
        with self._copying:
            found = self._left.next()
            return 0 if found is None else self._move(*found)

    def _move(self, start: int, length: int) -> int:
        pieces, count = take(self.source, start, length, self.chunk, lambda _: True)
        give(self._target, pieces)
        self._left.clear(start, count)
        self._done += count
        return count

    def _check(self) -> None:
        """Raise OSError if a copy before a change has failed."""
        if self._broken is not None:
            raise self._broken
