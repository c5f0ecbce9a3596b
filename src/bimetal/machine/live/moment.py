"""Several things that are done to disks at one moment, or none of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from os import PathLike
from typing import Any

from msgspec import Struct

from bimetal.backends.block.block import Block
from bimetal.backends.block.qcow2.image import Qcow2Image
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.paths import same_file
from bimetal.machine.live.backup import Backup
from bimetal.machine.live.bitmaps import BitmapChange
from bimetal.machine.live.chain import chain_of
from bimetal.machine.live.job import Job
from bimetal.machine.live.jobs import Jobs
from bimetal.machine.live.mirror import Mirror
from bimetal.machine.live.seat import Seat

__all__ = ["Action", "BackUp", "LayOver", "Moment"]


class BackUp(Struct, frozen=True, eq=False):
    """Begin a `Machine.backup_disk` with these arguments."""

    arguments: Mapping[str, Any]

    @property
    def drive(self) -> str:
        """The disk."""
        return str(self.arguments["drive"])


class LayOver(Struct, frozen=True):
    """Lay the image at ``path`` over a disk."""

    drive: str
    path: str | PathLike[str]


Action = BitmapChange | BackUp | LayOver


class Moment:
    """A moment at which a machine stands, and is settled, of whose disks some are about to get
    other images: ``overlays``, and some to be copied by ``backups``. What is done is undone by
    ``undo``."""

    def __init__(
        self,
        seats: Sequence[Seat],
        jobs: Jobs,
        overlays: Iterable[tuple[Seat, Block]],
        backups: Iterable[Backup],
        undo: ExitStack,
    ):
        self._seats, self._jobs, self._undo = seats, jobs, undo
        self._overlays, self._backups = [*overlays], [*backups]
        self._outdated = dict[int, Qcow2Image]()
        """Images that keep bitmaps otherwise than they are."""
        undo.callback(self._store_again)

    def change(self, change: BitmapChange) -> None:
        """Change a dirty bitmap. Raises `BimetalError` and OSError."""
        image = change.apply(self._find, self._undo)
        if isinstance(image, Qcow2Image):
            self._outdated[id(image)] = image

    def begin(self, job: Job) -> None:
        """Have a job stand ready. Raises `BimetalError`."""
        self._jobs.begin(job, standing=True)
        self._undo.callback(self._jobs.withdraw, job)

    def store(self) -> None:
        """Have images keep bitmaps as they are; those to which jobs write all the time do once that
        is over. Raises `BimetalError` and OSError."""
        settled = {id(each) for seat in self._seats for each in chain_of(seat.image)}
        for image in self._outdated.values():
            if image.bitmaps is not None:
                image.bitmaps.outdate(image)
                if id(image) in settled:
                    image.bitmaps.store(image)

    def _store_again(self) -> None:
        """All is as it was: so is what images keep, or that is marked as not valid."""
        for image in self._outdated.values():
            with suppress(BimetalError, OSError):
                if image.bitmaps is not None and image.bitmaps.stored:
                    image.bitmaps.store(image)

    def _find(self, drive: str, path: str) -> Block:
        """The image at ``path``, or, for "", the one that the guest writes to. Raises
        `BimetalError`."""
        for image in self._images(drive):
            if not path or same_file(image.name, path):
                return image
        raise BimetalError(
            f"no disk of the machine has the image {(path or drive)[:200]!r} now",
            "name one that is in use: query-named-block-nodes",
            ExitCode.USAGE,
        )

    def _images(self, drive: str) -> Iterator[Block]:
        """All images of a disk, or, for "", of all, and those that they are about to have,
        or have had, or are copied to."""
        for seat in self._seats:
            if drive in ("", seat.name):
                yield from chain_of(seat.image)
        for seat, overlay in self._overlays:
            if drive in ("", seat.name):
                yield overlay
        for job in self._jobs:
            if isinstance(job, Mirror) and drive in ("", job.drive) and not job.over:
                yield from chain_of(job.target)
            elif isinstance(job, Backup) and drive in ("", job.drive) and job.shows():
                yield job.target
        for backup in self._backups:
            if drive in ("", backup.drive):
                yield backup.target
        if not drive:
            yield from self._jobs.departed
