"""A disk gets what it shows of the images that it lies on (``block-stream``)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bimetal.backends.block.block import Block, Extent
from bimetal.base.errors import BimetalError
from bimetal.machine.live.chain import (
    between,
    chain_of,
    check_kept,
    detach,
    format_of,
    rename_backing,
    seal_at_last,
)
from bimetal.machine.live.job import Job, Terms
from bimetal.machine.live.moving import WriteFailed, give, take
from bimetal.machine.live.news import JobNews
from bimetal.machine.live.seat import HELD_SECONDS, Seat

__all__ = ["Stream"]


class Stream(Job):
    """Writes what the image at depth ``top`` of a chain shows of those below it, down to above
    ``base``, or all for None, into that image, which lies on the base, or on nothing, after that.
    It calls the base ``name``, its path if that is ""."""

    kind = "stream"

    def __init__(
        self,
        terms: Terms,
        seat: Seat,
        tell: Callable[[JobNews], None],
        top: int = 0,
        base: int | None = None,
        name: str = "",
    ):
        super().__init__(terms, seat.name, tell)
        self.seat = seat
        check_kept(seat.image)
        chain = chain_of(seat.image)
        self._image, self._base = chain[top], None if base is None else chain[base]
        self._sealed = top > 0
        self._depth = len(chain) if base is None else base - top
        if base is not None:
            between(chain, top, base)
        self._name = name or (self._base.name if self._base is not None else "")

    @property
    def total(self) -> int:
        """See `Job.total`."""
        return self._image.size

    def prepare(self, *, standing: bool) -> None:
        """See `Job.prepare`."""
        if self._sealed:
            self.seat.visit(self._image.unseal, standing=standing, seconds=HELD_SECONDS)

    def work(self) -> None:
        """See `Job.work`."""
        at = 0
        while at < self._image.size:
            try:
                count = self.seat.visit(partial(self._copy, at))
            except OSError as error:
                self.failed(error, reading=not isinstance(error, WriteFailed))
                continue
            at += count
            self.moved(count)

    def switch(self) -> None:
        """See `Job.switch`."""
        self.departed = self.seat.visit(self._cut)
        for image in self.departed:
            image.close()

    def undo(self, *, standing: bool = False) -> None:
        """See `Job.undo`."""
        if self._sealed:
            try:
                self.seat.visit(partial(seal_at_last, self._image), standing=standing)
            except BimetalError:  # the disk is gone, and closed
                seal_at_last(self._image)

    def _wanted(self, extent: Extent) -> bool:
        """What the images between have; zeroes only if there is something below them."""
        between = extent.present and 0 < extent.depth < self._depth
        return between and (self._base is not None or not extent.zero)

    def _copy(self, start: int) -> int:
        pieces, count = take(self._image, start, self._image.size - start, self.chunk, self._wanted)
        give(self._image, pieces)
        return count

    def _cut(self) -> list[Block]:
        """Have the image lie on the base, for good."""
        self._image.flush()
        format = None if self._base is None else format_of(self._base)
        rename_backing(self._image, self._name or None, format)
        removed = detach(self._image, self._base)
        if self._sealed:
            seal_at_last(self._image)
        return removed
