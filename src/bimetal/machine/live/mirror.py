"""A copy of a disk in another image, which may take its place (``blockdev-mirror``)."""

from __future__ import annotations

from collections.abc import Callable

from bimetal.backends.block.block import Block, Extent
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.machine.live.chain import chain_of, check_kept
from bimetal.machine.live.following import FollowingJob, Note
from bimetal.machine.live.job import Terms
from bimetal.machine.live.news import JobNews
from bimetal.machine.live.seat import Seat

__all__ = ["FULL", "NONE", "SYNCS", "Mirror", "check_target", "is_missing"]

FULL, TOP, NONE = SYNCS = ("full", "top", "none")
"""What is copied: all that the disk shows, what only its topmost image says, or what changes from
now on."""


def check_target(source: Block, target: Block) -> None:
    """Raise `BimetalError` unless ``target`` can be a copy of ``source``."""
    check_kept(source)
    if target.size != source.size:
        raise BimetalError(
            f"{target.name!r} has {target.size} bytes, and the disk {source.size}",
            "make it as large: bimetal image create",
            ExitCode.USAGE,
        )
    if target.readonly:
        raise BimetalError(f"{target.name!r} is only read", "open it to be written", ExitCode.USAGE)


def is_missing(extent: Extent, sync: str) -> bool:
    """Whether a copy of that kind needs the bytes of an extent."""
    return sync == FULL or (sync == TOP and extent.depth == 0 and extent.present)


class Mirror(FollowingJob):
    """Copies the disk to ``target``, which is closed in the end unless it becomes the disk."""

    kind = "mirror"

    def __init__(
        self,
        terms: Terms,
        seat: Seat,
        tell: Callable[[JobNews], None],
        note: Note,
        target: Block,
        sync: str = FULL,
    ):
        super().__init__(terms, seat, tell, note)
        if sync not in SYNCS:
            raise BimetalError(f"no sync {sync!r}", f"choose {', '.join(SYNCS)}", ExitCode.USAGE)
        check_target(self.source, target)
        self._target, self._sync = target, sync

    @property
    def target(self) -> Block:
        """See `FollowingJob.target`."""
        return self._target

    def begin(self) -> None:
        """See `FollowingJob.begin`."""

    def missing(self, extent: Extent) -> bool:
        """See `FollowingJob.missing`."""
        return is_missing(extent, self._sync)

    def let_go(self) -> None:
        """See `FollowingJob.let_go`."""
        self._target.close()

    def taken_over(self) -> None:
        """See `FollowingJob.taken_over`."""
        self.departed = chain_of(self.source)
        self.source.close()
