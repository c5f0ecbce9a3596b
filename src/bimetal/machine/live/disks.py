"""The disks of a machine that runs: a part of `Machine`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from os import PathLike, fsdecode
from typing import Any

from msgspec.structs import replace

from bimetal.backends.block.block import Block
from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.growing import grow_disk
from bimetal.base.clock import Clock
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.failing import host_failures
from bimetal.base.paths import same_file
from bimetal.base.sizes import parse_size
from bimetal.devices.virtio.block import VirtioBlock
from bimetal.devices.virtio.throttle import Throttle
from bimetal.machine.assembly import Assembly
from bimetal.machine.gate import VcpuGate
from bimetal.machine.live.backup import Backup
from bimetal.machine.live.bitmaps import BitmapChange
from bimetal.machine.live.chain import chain_of, place_in, view_of
from bimetal.machine.live.commit import ActiveCommit, Commit
from bimetal.machine.live.copies import close_copy, open_copy
from bimetal.machine.live.image_at import ImageAt
from bimetal.machine.live.job import Job, Terms
from bimetal.machine.live.jobs import Jobs
from bimetal.machine.live.marking import Marking
from bimetal.machine.live.mirror import Mirror
from bimetal.machine.live.moment import Action, BackUp, LayOver, Moment
from bimetal.machine.live.moves import Moves
from bimetal.machine.live.overlays import lay_over
from bimetal.machine.live.seat import HELD_SECONDS, Seat, await_requests, seats_of
from bimetal.machine.live.serving import Serving
from bimetal.machine.live.stream import Stream
from bimetal.machine.live.thresholds import set_threshold
from bimetal.machine.service import Service
from bimetal.machine.snapshots import standing
from bimetal.machine.still import settle

__all__ = ["LiveDisks"]

Path = str | PathLike[str]


class LiveDisks(Marking, Serving):
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
    _service: Service

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
            return [view_of(each) for each in chain_of(self._seat(drive).image)]

    def other_images(self) -> list[ImageAt]:
        """Images to which jobs copy, and those that disks have had before a job gave them others,
        if these have dirty bitmaps."""
        targets = [job.target for job in self._jobs if isinstance(job, Mirror) and not job.over]
        return [view_of(each) for each in (*targets, *self._jobs.departed)]

    def lay_over(self, overlays: Mapping[str, Path]) -> None:
        """External snapshots: lay qcow2 images that are there, and empty, over disks, at one moment
        and over all of them or none. What the guest writes from then on goes to those; the images
        that the disks had stay what they are."""
        self.at_once([LayOver(drive, path) for drive, path in overlays.items()])

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
        bitmap: str = "", bitmap_mode: str = "", folders: Iterable[Path] = (), **terms: Any,
    ) -> Job:  # fmt: skip
        """Copy a disk as it is now to an image that is there, and as large: what the guest changes
        meanwhile is copied before. ``sync`` is ``full`` or ``top``; ``none``, of which nothing else
        is copied until it is given up, for `export_disk`; or ``incremental``: what the
        dirty bitmap called ``bitmap`` says has changed. That begins anew, unless the backup fails;
        or with ``sync="bitmap"``, as ``bitmap_mode`` says: ``on-success``, ``never`` or
        ``always``."""
        with ExitStack() as opened, self._jobs.alone(drive):
            job = self._backup(
                opened, drive=drive, target=target, format=format, sync=sync, bitmap=bitmap,
                bitmap_mode=bitmap_mode, folders=folders, **terms,
            )  # fmt: skip
            self._jobs.begin(job)
            opened.pop_all()
        return job

    def at_once(self, actions: Sequence[Action]) -> None:
        """Do several things at one moment, in their order, or none of them: no CPU runs then, and
        no request is under way. Images are laid over disks last."""
        self._gate.check_begun("nobody uses the disks: do it with bimetal image")
        runner = self._parts.built()
        drives = [each.drive for each in actions if isinstance(each, BackUp | LayOver)]
        with ExitStack() as opened, self._jobs.alone(*drives):
            jobs = {each: self._backup(opened, **each.arguments)
                    for each in actions if isinstance(each, BackUp)}  # fmt: skip
            pairs = [self._overlay(opened, each) for each in actions if isinstance(each, LayOver)]
            for seat, _ in pairs:  # most of the work, while the machine goes on
                with host_failures("no image can be laid over the disk"):
                    seat.visit(seat.image.flush, seconds=HELD_SECONDS, leave=True)
            await_requests(runner)
            with standing(self._gate, self._clock), ExitStack() as held, ExitStack() as undo:
                settle(runner)
                held.enter_context(self._jobs.copies_at_rest())
                seats = [*seats_of(runner)]
                moment = Moment(seats, self._jobs, pairs, jobs.values(), undo)
                for each in actions:
                    if isinstance(each, BitmapChange):
                        moment.change(each)
                    elif isinstance(each, BackUp):
                        moment.begin(jobs[each])
                with host_failures("the dirty bitmaps cannot be stored"):
                    moment.store()
                with host_failures("no image can be laid over the disk"):
                    lay_over(pairs, self._note)
                undo.pop_all()
            opened.pop_all()
        for job in jobs.values():
            job.start()

    def reopen_image(self, path: Path, *, readonly: bool) -> None:
        """Have an image that lies below that of a disk be written, say because bitmaps are kept in
        it, or only read again."""
        name, runner = fsdecode(path), self._parts.built()
        with runner.locked():
            found = [
                (seat, image) for seat in seats_of(runner)
                for image in chain_of(seat.image)[1:] if same_file(image.name, name)
            ]  # fmt: skip
        if not found:
            raise BimetalError(
                f"{name!r} does not lie below the image of a disk",
                "what the guest writes to stays as it is: unplug the disk, and plug it in again",
                ExitCode.USAGE,
            )
        seat, image = found[0]
        with self._jobs.alone(seat.name), host_failures(f"{name!r} cannot be opened otherwise"):
            turn = image.seal if readonly else image.unseal
            seat.visit(turn, seconds=HELD_SECONDS, leave=True)

    def resize_disk(self, drive: str, size: int | str) -> None:
        """Make a disk larger, and tell the guest; what is new reads as zeroes."""
        length = parse_size(str(size)) if isinstance(size, str) else size
        with self._jobs.alone(drive):
            seat, _ = self._chain(drive)
            with host_failures(f"{drive} cannot be made larger"):
                seat.visit(
                    lambda: grow_disk(seat.image, length),
                    lambda _: seat.part.resized(),
                    seconds=HELD_SECONDS,
                    leave=True,
                )

    def set_write_threshold(
        self, image: Path, limit: int, told: Callable[[int], None], *, of_file: bool = False
    ) -> None:
        """Have ``told`` called once, with the machine's lock held, when the image of a disk is
        written beyond ``limit`` bytes, with how many bytes beyond; 0 for never. Those are bytes of
        the disk, or of the image's file if ``of_file``."""
        name, runner = fsdecode(image), self._parts.built()
        tell = partial(self._call_locked, told)
        if self._jobs.barred:
            self._jobs.check_idle()
        with ExitStack() as held:
            held.enter_context(runner.locked())
            tops = [(seat, chain_of(seat.image)[0]) for seat in seats_of(runner)]
            found = [(seat, top) for seat, top in tops if same_file(top.name, name)]
            if not found or found[0][1].readonly:
                raise BimetalError(
                    f"no disk writes to {name!r}", "name the image of a disk", ExitCode.USAGE
                )
            seat, top = found[0]
            begun = self._gate.started
            if begun:  # or no thread that would carry out a visit is there, and no guest
                held.close()
            with host_failures(f"{name!r} cannot be watched"):
                watch = partial(set_threshold, top, limit, tell, of_file=of_file)
                seat.visit(watch, standing=not begun, seconds=HELD_SECONDS, leave=True)

    def _call_locked(self, told: Callable[[int], None], beyond: int) -> None:
        self._service.reactor.call(partial(told, beyond))

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
        sync: str = "full", bitmap: str = "", bitmap_mode: str = "", folders: Iterable[Path] = (),
        **terms: Any,
    ) -> Backup:  # fmt: skip
        seat, chain = self._chain(drive)
        asked = self._terms(drive, terms)
        copy = self._target(seat, chain, target, format, folders, opened, on_source=True)
        return Backup(asked, seat, self._jobs.tell, copy, sync, bitmap, bitmap_mode)

    def _overlay(self, opened: ExitStack, action: LayOver) -> tuple[Seat, Block]:
        with self._parts.built().locked():
            seat = self._seat(action.drive)
        overlay = open_disk(_whole(action.path), format="qcow2", alone=True, bitmaps=True)
        opened.callback(overlay.close)
        return seat, overlay

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
        chain: Sequence[Block],
        path: Path,
        format: str | None,
        folders: Iterable[Path],
        opened: ExitStack,
        *,
        on_source: bool = False,
    ) -> Block:
        """The image to copy to, which ``opened`` closes unless a job does. It may lie ``on_source``
        itself."""
        known = [os.path.dirname(os.path.abspath(each.name)) for each in chain]
        allowed = (*seat.config.backing_folders, *known, *map(fsdecode, folders))
        above = chain if on_source else ()
        target = open_copy(above, _whole(path), format=format, folders=allowed)
        opened.callback(close_copy, target, above)
        return target

    def _note(self, moves: Moves) -> None:
        if self.on_moved is not None:
            self.on_moved(moves)


def _whole(path: Path) -> str:
    return os.path.abspath(fsdecode(path))
