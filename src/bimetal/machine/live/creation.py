"""An image that is made: a job, though it is done as soon as it has begun."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from bimetal.backends.block.lock import LocksUnsupported, lock_image
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.machine.live.job import Job, Terms
from bimetal.machine.live.news import JobNews

__all__ = ["Creation"]


class Creation(Job):
    """Has ``fill`` make an image of the file at ``path``, once that is locked."""

    kind = "create"

    def __init__(
        self,
        terms: Terms,
        tell: Callable[[JobNews], None],
        path: str,
        fill: Callable[[int], None],
    ):
        super().__init__(terms, "", tell)
        self._path, self._fill = path, fill

    def prepare(self, *, standing: bool) -> None:
        """Nothing is to be done."""

    def work(self) -> None:
        """See `Job.work`."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with suppress(LocksUnsupported):
                lock_image(fd, writing=True)
            self._fill(fd)
        except BlockingIOError as error:
            raise BimetalError(
                f"{self._path[:200]!r} is in use", "name another file", ExitCode.UNAVAILABLE
            ) from error
        finally:
            os.close(fd)
        self.moved(1)

    def switch(self) -> None:
        """Nothing is to be done."""

    def undo(self, *, standing: bool = False) -> None:
        """What was made is no image yet: its header is written last."""

    @property
    def total(self) -> int:
        """See `Job.total`."""
        return 1
