"""What images of a disk have is written into one that they lie on (``block-commit``)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bimetal.backends.block.block import Block, Extent
from bimetal.backends.block.growing import grow_disk
from bimetal.base.errors import BimetalError
from bimetal.machine.live.chain import (
    between,
    chain_of,
    check_kept,
    detach,
    format_of,
    rename_backing,
    seal_at_last,
    stand_alone,
)
from bimetal.machine.live.dirty import Dirty
from bimetal.machine.live.following import FollowingJob, Note
from bimetal.machine.live.job import Job, Terms
from bimetal.machine.live.moving import WriteFailed, give, survey, take
from bimetal.machine.live.news import JobNews
from bimetal.machine.live.seat import HELD_SECONDS, Seat

__all__ = ["ActiveCommit", "Commit"]


def _open(base: Block, size: int) -> None:
    """Have the base written, and as large as what lies on it. Raises OSError, `BimetalError`."""
    base.unseal()
    try:
        grow_disk(base, size)
    except BaseException:
        seal_at_last(base)
        raise


class ActiveCommit(FollowingJob):
    """Writes what the guest's disk has above the image at depth ``base`` of its chain into that,
    which takes its place in the end."""

    kind = "commit"
    beside = False

    def __init__(
        self,
        terms: Terms,
        seat: Seat,
        tell: Callable[[JobNews], None],
        note: Note,
        base: int,
    ):
        super().__init__(terms, seat, tell, note)
        check_kept(self.source)
        chain = chain_of(self.source)
        between(chain, 0, base)
        self._depth, self._base = base, chain[base]
        self._removed = list[Block]()

    @property
    def target(self) -> Block:
        """See `FollowingJob.target`."""
        return self._base

    def begin(self) -> None:
        """See `FollowingJob.begin`."""
        _open(self._base, self.source.size)

    def missing(self, extent: Extent) -> bool:
        """See `FollowingJob.missing`."""
        return extent.present and extent.depth < self._depth

    def wanted(self, extent: Extent) -> bool:
        """See `FollowingJob.wanted`."""
        return self.missing(extent)

    def let_go(self) -> None:
        """See `FollowingJob.let_go`."""
        seal_at_last(self._base)

    def _hand_over(self) -> None:
        super()._hand_over()
        if self._pivots:
            self._removed = [self.source, *detach(self.source, self._base)]
            stand_alone(self.source)

    def taken_over(self) -> None:
        """See `FollowingJob.taken_over`."""
        self.departed = self._removed
        for image in self.departed:
            image.close()


class Commit(Job):
    """Writes what the images from depth ``top`` to above ``base`` have into that, and has the image
    above the top lie on it. ``name`` is what that calls it, a path if it is ""."""

    kind = "commit"

    def __init__(
        self,
        terms: Terms,
        seat: Seat,
        tell: Callable[[JobNews], None],
        top: int,
        base: int,
        name: str = "",
    ):
        super().__init__(terms, seat.name, tell)
        self.seat = seat
        check_kept(seat.image)
        chain = chain_of(seat.image)
        between(chain, top, base)
        self._above, self._top, self._base = chain[top - 1], chain[top], chain[base]
        self._depth, self._name = base - top, name or self._base.name
        self._left = Dirty(self._top.size)

    @property
    def total(self) -> int:
        """See `Job.total`."""
        return self._done + self._left.bytes

    def prepare(self, *, standing: bool) -> None:
        """See `Job.prepare`."""
        self.seat.visit(
            partial(_open, self._base, self._top.size), standing=standing, seconds=HELD_SECONDS
        )

    def work(self) -> None:
        """See `Job.work`."""
        at = 0
        while at < self._top.size:
            at = self.seat.visit(partial(survey, self._top, at, self._wanted, self._left.mark))
            self.point()
        while (found := self._left.next()) is not None:
            try:
                count = self.seat.visit(partial(self._copy, *found))
            except OSError as error:
                self.failed(error, reading=not isinstance(error, WriteFailed))
                continue
            self.moved(count)

    def switch(self) -> None:
        """See `Job.switch`."""
        self.departed = self.seat.visit(self._unite)
        for image in self.departed:
            image.close()

    def undo(self, *, standing: bool = False) -> None:
        """See `Job.undo`."""
        try:
            self.seat.visit(partial(seal_at_last, self._base), standing=standing)
        except BimetalError:  # the disk is gone, and closed
            seal_at_last(self._base)

    def _wanted(self, extent: Extent) -> bool:
        return extent.present and extent.depth < self._depth

    def _copy(self, start: int, length: int) -> int:
        pieces, count = take(self._top, start, length, self.chunk, self._wanted)
        give(self._base, pieces)
        self._left.clear(start, count)
        return count

    def _unite(self) -> list[Block]:
        """Have the image above lie on the base, for good: it shows there what it showed before."""
        self._base.flush()
        rename_backing(self._above, self._name, format_of(self._base))
        removed = detach(self._above, self._base)
        seal_at_last(self._base)
        return removed
