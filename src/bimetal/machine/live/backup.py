"""A copy of a disk as it is at the moment when the job begins (``blockdev-backup``)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from bimetal.backends.block.block import Block
from bimetal.backends.block.watched import WatchedDisk
from bimetal.base.bits import align_up
from bimetal.base.errors import BimetalError
from bimetal.machine.live.chain import chain_of, cluster_of
from bimetal.machine.live.copies import close_copy
from bimetal.machine.live.dirty import GRANULE, Dirty
from bimetal.machine.live.job import Job, Terms
from bimetal.machine.live.loan import DECIDES, BitmapLoan, check_words, lend
from bimetal.machine.live.mirror import FULL, NONE, check_target, is_missing
from bimetal.machine.live.moving import WriteFailed, give, survey, take
from bimetal.machine.live.news import JobNews
from bimetal.machine.live.seat import HELD_SECONDS, Seat

__all__ = ["Backup"]


class Backup(Job):
    """Copies the disk to ``target``, which is closed in the end, and may lie on the disk itself.
    What the guest is about to change is copied before. If that fails, the backup does, and not the
    guest. See `check_words` for the ``sync``, the ``bitmap`` and its ``mode``. Of ``none`` nothing
    else is copied, until it is given up: a target that lies on the disk shows it as it was.

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
        bitmap: str = "",
        mode: str = "",
    ):
        super().__init__(terms, seat.name, tell)
        check_words(sync, bitmap, mode)
        self.seat, self.source, self._target, self._sync = seat, seat.image, target, sync
        check_target(self.source, target)
        self._bitmap, self._mode = bitmap, mode
        self._loan: BitmapLoan | None = None
        self._unit = max(GRANULE, cluster_of(target) or 0)
        """Bytes that the target has from one moment."""
        self._left = Dirty(self.source.size)
        self._copying = threading.Lock()
        self._broken: OSError | None = None
        self._watches = False

    @property
    def total(self) -> int:
        """See `Job.total`."""
        return self._done + self._left.bytes

    @property
    def target(self) -> Block:
        """What it copies to."""
        return self._target

    def shows(self) -> bool:
        """Whether the target, if it lies on the disk, shows that as it was: while it is at work.
        What is read on a visit that has asked this is right."""
        return self._watches and self._broken is None

    def prepare(self, *, standing: bool) -> None:
        """See `Job.prepare`."""
        self.seat.visit(
            self._begin, lambda _: self._watch(), standing=standing, seconds=HELD_SECONDS
        )

    def work(self) -> None:
        """See `Job.work`."""
        while self._sync == NONE and not self._ending:
            self.rest(None)
        while self._sync != NONE and self._left.next() is not None:
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
        self.seat.visit(self._finish, lambda _: self._end(done=True))
        close_copy(self._target, chain_of(self.source))

    def undo(self, *, standing: bool = False) -> None:
        """See `Job.undo`."""
        self._broken = self._broken or OSError()
        with suppress(BimetalError):  # the disk is gone
            self.seat.visit(lambda: None, lambda _: self._end(done=False), standing=standing)
        close_copy(self._target, chain_of(self.source))

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
                    self.end_early()

    def _begin(self) -> None:
        loan = lend(self.source, self._sync, self._bitmap, self._mode)
        if self._sync in (FULL, NONE):
            self._left.mark(0, self.source.size)
        elif self._sync not in DECIDES:
            at, missing = 0, partial(is_missing, sync=self._sync)
            while at < self.source.size:
                at = survey(self.source, at, missing, self._mark)
        if loan is not None:
            loan.take(self._mark)
        self._loan = loan

    def _mark(self, offset: int, length: int) -> None:
        """These bytes are to be copied, and what is in a cluster of the target with them."""
        start = offset - offset % self._unit
        stop = min(align_up(offset + length, self._unit), self.source.size)
        self._left.mark(start, stop - start)

    def _finish(self) -> None:
        self._target.flush()
        if self._loan is not None:
            self._loan.outdate()

    def _watch(self) -> None:
        self.seat.exchange(WatchedDisk(self.source, self))
        self._watches = True

    def _end(self, *, done: bool) -> None:
        if self._loan is not None:
            self._loan.give_back(self._left, done=done)
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
