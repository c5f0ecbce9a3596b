"""The disks of a machine that runs: a part of `Machine`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from os import PathLike, fsdecode
from typing import Any

from bimetal.backends.block.block import Block
from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.growing import grow_disk
from bimetal.base.clock import Clock
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.sizes import parse_size
from bimetal.devices.virtio.block import VirtioBlock
from bimetal.devices.virtio.throttle import Throttle
from bimetal.machine.assembly import Assembly
from bimetal.machine.gate import VcpuGate
from bimetal.machine.live.backup import Backup
from bimetal.machine.live.chain import chain_of, cluster_of, format_of, place_in
from bimetal.machine.live.commit import ActiveCommit, Commit
from bimetal.machine.live.failing import host_failures
from bimetal.machine.live.image_at import ImageAt
from bimetal.machine.live.job import Job, Terms
from bimetal.machine.live.jobs import Jobs
from bimetal.machine.live.mirror import Mirror
from bimetal.machine.live.moves import Moves
from bimetal.machine.live.overlays import lay_over
from bimetal.machine.live.seat import Seat, seats_of
from bimetal.machine.live.stream import Stream
from bimetal.machine.snapshots import standing
from bimetal.machine.still import settle

__all__ = ["LiveDisks"]

Path = str | PathLike[str]


class LiveDisks:
    """What is done to disks while the guest uses them. They are called by the names that
    `Machine.drives` has for them: ``disk0`` and so on.

    Jobs go on beside the guest, in threads of their own; there is one for a disk at a time.
    ``terms`` are those of `Terms`, besides ``id``, which is the disk's name otherwise: ``speed``
    (bytes a second), ``on_source_error``, ``on_target_error``, ``auto_finalize``,
    ``auto_dismiss``. All methods raise `BimetalError`, and then nothing has changed.
    """

    _parts: Assembly
    _gate: VcpuGate
    _clock: Clock
    _jobs: Jobs

    on_moved: Callable[[Moves], None] | None = None
    """Called when disks are about to have other images, while no request of theirs is carried out:
    they have them once it returns, and what it has written down is true then. It may raise
    `BimetalError` and OSError."""

    @property
    def jobs(self) -> Jobs:
        """The jobs."""
        return self._jobs

    def images_of(self, drive: str) -> list[ImageAt]:
        """The images of a disk, from the one that the guest writes to downwards."""
        with self._parts.built().locked():
            return [
                ImageAt(each.name, format_of(each), each.size, each.readonly, cluster_of(each))
                for each in chain_of(self._seat(drive).image)
            ]

    def lay_over(self, overlays: Mapping[str, Path]) -> None:
        """External snapshots: lay qcow2 images that are there, and empty, over disks, at one moment
        and over all of them or none. What the guest writes from then on goes to those; the images
        that the disks had stay what they are."""
        self._gate.check_begun("lay an image over the disk's before: bimetal image create -b")
        runner = self._parts.built()
        with ExitStack() as opened, self._jobs.alone(*overlays):
            pairs = list[tuple[Seat, Block]]()
            for drive, path in overlays.items():
                with runner.locked():
                    seat = self._seat(drive)
                overlay = open_disk(_whole(path), format="qcow2", alone=True)
                opened.callback(overlay.close)
                pairs.append((seat, overlay))
            with host_failures("no image can be laid over the disk"):
                lay_over(runner, self._clock, pairs, self._note)
            opened.pop_all()

    def commit_disk(
        self, drive: str, *, base: Path = "", top: Path = "", name: str = "", **terms: Any
    ) -> Job:
        """Write what the images from ``top`` down to above ``base`` have into that: without a top
        from the one that the guest writes to, without a base into the lowest. The base takes the
        place of a disk that is committed wholly once the job is ready and is completed; otherwise
        the image above lies on the base then, which it calls ``name``."""
        asked = self._terms(drive, terms)
        with self._jobs.alone(drive):
            seat, chain = self._chain(drive)
            above = place_in(chain, fsdecode(top), "top") if top else 0
            below = place_in(chain, fsdecode(base), "base") if base else len(chain) - 1
            if above:
                return self._jobs.begin(Commit(asked, seat, self._jobs.tell, above, below, name))
            return self._jobs.begin(ActiveCommit(asked, seat, self._jobs.tell, self._note, below))

    def stream_disk(
        self, drive: str, *, base: Path = "", top: Path = "", name: str = "", **terms: Any
    ) -> Job:
        """Write what a disk shows of the images that it lies on, down to above ``base``, into its
        own, or that at ``top``, which then lies on the base, which it calls ``name``, or without
        one on nothing."""
        asked = self._terms(drive, terms)
        with self._jobs.alone(drive):
            seat, chain = self._chain(drive)
            above = place_in(chain, fsdecode(top), "top") if top else 0
            below = place_in(chain, fsdecode(base), "base") if base else None
            return self._jobs.begin(Stream(asked, seat, self._jobs.tell, above, below, name))

    def mirror_disk(
        self, drive: str, target: Path, *, format: str | None = None, sync: str = "full",
        folders: Iterable[Path] = (), **terms: Any,
    ) -> Job:  # fmt: skip
        """Copy a disk to an image that is there, and as large, and follow what the guest writes;
        once the job is ready and is completed, that takes the disk's place. ``sync`` is ``full``,
        ``top`` (only what the disk's own image says) or ``none``."""
        asked = self._terms(drive, terms)
        with ExitStack() as opened, self._jobs.alone(drive):
            seat, chain = self._chain(drive)
            copy = self._target(seat, chain, target, format, folders, opened)
            job = Mirror(asked, seat, self._jobs.tell, self._note, copy, sync)
            self._jobs.begin(job)
            opened.pop_all()
        return job

    def backup_disk(
        self, drive: str, target: Path, *, format: str | None = None, sync: str = "full",
        folders: Iterable[Path] = (), **terms: Any,
    ) -> Job:  # fmt: skip
        """Copy a disk as it is now to an image that is there, and as large: what the guest changes
        meanwhile is copied before. ``sync`` is ``full`` or ``top``."""
        with ExitStack() as opened, self._jobs.alone(drive):
            job = self._backup(
                opened, drive=drive, target=target, format=format, sync=sync, folders=folders,
                **terms,
            )  # fmt: skip
            self._jobs.begin(job)
            opened.pop_all()
        return job

    def backup_disks(self, backups: Sequence[Mapping[str, Any]]) -> None:
        """Several `backup_disk` at one moment, or none: each has its arguments by name."""
        drives = [each["drive"] for each in backups]
        with ExitStack() as opened, self._jobs.alone(*drives), ExitStack() as begun:
            jobs = [self._backup(opened, **each) for each in backups]
            with standing(self._gate, self._clock):
                settle(self._parts.built())
                for job in jobs:
                    self._jobs.begin(job, standing=True)
                    begun.callback(self._jobs.withdraw, job)
            begun.pop_all()
            opened.pop_all()
        for job in jobs:
            job.start()

    def resize_disk(self, drive: str, size: int | str) -> None:
        """Make a disk larger, and tell the guest; what is new reads as zeroes."""
        length = parse_size(str(size)) if isinstance(size, str) else size
        with self._jobs.alone(drive):
            seat, _ = self._chain(drive)
            with host_failures(f"{drive} cannot be made larger"):
                seat.visit(lambda: grow_disk(seat.image, length), lambda _: seat.part.resized())

    def limit_disk(self, drive: str, *, iops: int = 0, bps: int = 0) -> None:
        """Carry out at most so many requests and bytes of a virtio disk in a second, reads and
        writes together, from now on; 0 for no limit."""
        runner = self._parts.built()
        with runner.locked():
            seat = self._seat(drive)
            new = replace(seat.config, iops=iops, bps=bps)
            if isinstance(seat.part, VirtioBlock):
                throttle = Throttle(runner.clock, iops, bps) if iops or bps else None
                seat.part.limit(throttle)
            seat.describe(new)

    # Parts of these

    def _backup(
        self, opened: ExitStack, *, drive: str, target: Path, format: str | None = None,
        sync: str = "full", folders: Iterable[Path] = (), **terms: Any,
    ) -> Backup:  # fmt: skip
        seat, chain = self._chain(drive)
        asked = self._terms(drive, terms)
        copy = self._target(seat, chain, target, format, folders, opened)
        return Backup(asked, seat, self._jobs.tell, copy, sync)

    def _seat(self, drive: str) -> Seat:
        """The disk of that name. Call with the machine's lock held. Raises `BimetalError`."""
        seats = {seat.name: seat for seat in seats_of(self._parts.built())}
        if drive not in seats:
            raise BimetalError(
                f"there is no disk {drive[:80]!r}, or it is on USB",
                f"choose from {', '.join(seats)}" if seats else "the machine has none",
                ExitCode.USAGE,
            )
        return seats[drive]

    def _chain(self, drive: str) -> tuple[Seat, list[Block]]:
        """A disk and its images, of somebody who is `Jobs.alone`. Raises `BimetalError` if nothing
        can be done with them now."""
        self._gate.check_begun("nobody uses the disk: do it with bimetal image")
        with self._parts.built().locked():
            seat = self._seat(drive)
            return seat, chain_of(seat.image)

    @staticmethod
    def _terms(drive: str, terms: Mapping[str, Any]) -> Terms:
        return Terms(**{"id": drive, **terms})

    @staticmethod
    def _target(
        seat: Seat,
        chain: Iterable[Block],
        path: Path,
        format: str | None,
        folders: Iterable[Path],
        opened: ExitStack,
    ) -> Block:
        """The image to copy to, which ``opened`` closes unless a job does."""
        known = [os.path.dirname(os.path.abspath(each.name)) for each in chain]
        allowed = (*seat.config.backing_folders, *known, *map(fsdecode, folders))
        target = open_disk(_whole(path), format=format, folders=allowed)
        opened.callback(target.close)
        return target

    def _note(self, moves: Moves) -> None:
        if self.on_moved is not None:
            self.on_moved(moves)


def _whole(path: Path) -> str:
    return os.path.abspath(fsdecode(path))
