"""States of a machine that its disks keep, made, gone back to and forgotten by jobs: each is done
as soon as it has begun."""

from __future__ import annotations

from collections.abc import Callable

from bimetal.machine.live.job import Job, Terms
from bimetal.machine.live.news import JobNews

__all__ = ["Deleting", "Keeping", "Loading", "Saving"]


class Keeping(Job):
    """Has ``do`` called, which does all of the work, or nothing if it fails."""

    def __init__(self, terms: Terms, tell: Callable[[JobNews], None], do: Callable[[], None]):
        super().__init__(terms, "", tell)
        self._do = do

    def prepare(self, *, standing: bool) -> None:
        """Nothing is to be done."""

    def work(self) -> None:
        """See `Job.work`."""
        self._do()
        self.moved(1)

    def switch(self) -> None:
        """Nothing is to be done."""

    def undo(self, *, standing: bool = False) -> None:
        """What has failed has changed nothing."""

    @property
    def total(self) -> int:
        """See `Job.total`."""
        return 1


class Saving(Keeping):
    """A state is made."""

    kind = "snapshot-save"


class Loading(Keeping):
    """The machine goes back to one."""

    kind = "snapshot-load"


class Deleting(Keeping):
    """One is forgotten."""

    kind = "snapshot-delete"
