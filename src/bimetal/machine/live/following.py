"""Jobs that copy a disk and then follow what the guest writes, until the copy takes its place."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

from bimetal.backends.block.block import Block, Extent
from bimetal.backends.block.watched import WatchedDisk
from bimetal.base.errors import BimetalError
from bimetal.machine.live.chain import chain_of, check_there, format_of
from bimetal.machine.live.dirty import Dirty
from bimetal.machine.live.job import Job, Terms
from bimetal.machine.live.moves import Moves, move_of
from bimetal.machine.live.moving import Piece, WriteFailed, give, survey, take
from bimetal.machine.live.news import JobNews
from bimetal.machine.live.seat import HELD_SECONDS, Seat

__all__ = ["FollowingJob", "Note"]

Note = Callable[[Moves], None]
"""Writes down that disks are about to have other images."""

SMALL = 4 << 20
"""Bytes that may be left to copy while the guest waits."""

PASSES = 8
"""Attempts to come down to that, of a guest that writes as fast as they are copied."""

PATIENCE = 0.1
"""Seconds of changes that are copied together."""


class FollowingJob(Job):
    """Copies the disk at ``seat``. ``note`` is called before the copy takes its place, while the
    guest's requests wait: whoever is told of it may trust that the copy is complete and safe.

    The copy is behind the disk until the last step, in which requests wait until it is the same:
    until then, the disk is what it was, whatever ends the job.
    """

    completes = True
    beside = True
    """Whether the copy may be written while the guest's requests are carried out."""

    def __init__(self, terms: Terms, seat: Seat, tell: Callable[[JobNews], None], note: Note):
        super().__init__(terms, seat.name, tell)
        self.seat, self._note = seat, note
        self.source = seat.image
        self.dirty = Dirty(self.source.size)
        self.beside_requests = threading.Lock()
        """Held while the copy is written beside them."""
        self._watches = False

    def at_rest(self) -> AbstractContextManager[object]:
        return self.beside_requests

    # What kinds define

    @abstractmethod
    def begin(self) -> None:
        """Prepare the copy; requests wait. Raises OSError and `BimetalError`."""

    @property
    @abstractmethod
    def target(self) -> Block:
        """The copy."""

    @abstractmethod
    def missing(self, extent: Extent) -> bool:
        """Whether the copy lacks the bytes of an extent at first."""

    def wanted(self, extent: Extent) -> bool:
        """Whether the copy needs the bytes of an extent that is marked."""
        return True

    @abstractmethod
    def let_go(self) -> None:
        """The copy does not take the place of the disk; no request is carried out. It never
        fails."""

    @abstractmethod
    def taken_over(self) -> None:
        """Close what the disk was, now that the copy has its place."""

    # The work

    @property
    def total(self) -> int:
        """See `Job.total`."""
        return self._done + self.dirty.bytes

    def prepare(self, *, standing: bool) -> None:
        """See `Job.prepare`."""
        self.seat.visit(
            self.begin, lambda _: self._watch(), standing=standing, seconds=HELD_SECONDS
        )

    def work(self) -> None:
        """See `Job.work`."""
        at = 0
        while at < self.source.size:
            at = self.seat.visit(partial(survey, self.source, at, self.missing, self.dirty.mark))
            self.point()
        self._copy_all()
        self.become_ready()
        while not self._ending:
            self.rest(PATIENCE)
            self._copy_all()
        for _ in range(PASSES):
            if self.dirty.bytes <= SMALL:
                break
            self._copy_all()

    def switch(self) -> None:
        """See `Job.switch`."""
        self.seat.visit(self._catch_up, lambda _: self._hand_over())
        if self._pivots:
            self.taken_over()

    def undo(self, *, standing: bool = False) -> None:
        """See `Job.undo`."""
        try:
            self.seat.visit(self.let_go, lambda _: self._unwatch(), standing=standing)
        except BimetalError:  # the disk is gone, and closed
            self.let_go()

    def _watch(self) -> None:
        self.seat.exchange(WatchedDisk(self.source, self.dirty))
        self._watches = True

    def _unwatch(self) -> None:
        if self._watches:
            self.seat.exchange(self.source)
            self._watches = False

    def _copy_all(self) -> None:
        """Copy what is marked, once. Raises `Cancelled`, OSError, and `BimetalError` if the disk is
        gone."""
        self.seat.check_there()
        at = 0
        while (found := self.dirty.next(at)) is not None:
            start, count = found
            try:
                pieces, count = self.seat.visit(partial(self._take, *found))
                if self.beside:
                    with self.beside_requests:
                        give(self.target, pieces)
            except OSError as error:
                if wrote := isinstance(error, WriteFailed):
                    self.dirty.mark(start, count)
                self.failed(error, reading=not wrote)
                continue
            at = start + count
            self.moved(count)

    def _take(self, start: int, length: int) -> tuple[list[Piece], int]:
        """The next bytes, which are not marked any more, and how many that deals with."""
        pieces, count = take(self.source, start, length, self.chunk, self.wanted)
        if not self.beside:
            give(self.target, pieces)
        self.dirty.clear(start, count)
        return pieces, count

    def _catch_up(self) -> None:
        """Make the copy the same as the disk, and safe, and be done with it unless it is to be the
        disk; requests wait."""
        while (found := self.dirty.next()) is not None:
            pieces, count = self._take(*found)
            if self.beside:
                give(self.target, pieces)
            self._done += count
        self.target.flush()
        if self._pivots:
            check_there(self.target)
            move = move_of(self.seat, self.target, chain_of(self.target)[1:])
            self._note({self.seat.name: move})
        else:
            self.let_go()

    def _hand_over(self) -> None:
        if self._pivots:
            below = chain_of(self.target)[1:]
            self.seat.moved(self.target.name, format_of(self.target), below)
            self.seat.exchange(self.target)
            self._watches = False
        else:
            self._unwatch()
