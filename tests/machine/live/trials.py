"""Trials of what may happen to a machine while jobs are at work on its disk: see
`tests.backends.block.trials`, whose ways to end these processes have too.

``python -m tests.machine.live.trials KIND NUMBER SEED``: the guest writes without end, and
beside it one job after the other is done on its disk. Whenever the disk is to have another image,
that is written into a file, as whoever keeps definitions does: after the end, the disk that the
file names shows what was answered, and all of its images are sound.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from bimetal import images
from bimetal.backends.block.choose import open_disk
from bimetal.base.errors import BimetalError
from bimetal.machine.live.job import Job
from bimetal.machine.live.moves import Moves
from bimetal.machine.live.news import Status
from bimetal.machine.machine import Machine
from tests.backends.block.crash import sectors
from tests.backends.block.qcow2 import qemu
from tests.backends.block.trials import WAYS, Trials, live
from tests.backends.block.writer import content, ranges, tell
from tests.machine.live.driver import SECTOR, DiskDriver, driven

__all__ = ["JOBS", "LiveTrials"]

DISK = "disk0"
CURRENT = "current.json"


class Work:
    """Jobs on the disk of a machine, whose images are called by numbers."""

    def __init__(self, machine: Machine, folder: Path, rng: random.Random):
        self.machine, self._folder, self._rng = machine, folder, rng
        self._names = (folder / f"{rng.getrandbits(40):x}.{n}" for n in itertools.count())

    def overlay(self) -> None:
        top, path = self.machine.images_of(DISK)[0], next(self._names)
        below: dict[str, Any] = {"backing": top.path, "backing_format": top.format, "unsafe": True}
        images.create(str(path), top.size, format="qcow2", **below)
        self.machine.lay_over({DISK: path})

    def target(self) -> tuple[Path, str]:
        path, format = next(self._names), self._rng.choice(("raw", "qcow2"))
        images.create(str(path), self.machine.images_of(DISK)[0].size, format=format)
        return path, format

    def finish(self, job: Job) -> None:
        """Have it come to its end, which a full disk may make a failure."""
        if job.wait(Status.READY) and job.status is Status.READY:
            with suppress(BimetalError):  # it has just failed
                job.complete()
        job.wait()

    def commit(self) -> None:
        """Of all, into the lowest."""
        self.overlay()
        self.finish(self.machine.commit_disk(DISK))

    def middle(self) -> None:
        """Of an image between others; and of all, if there are many."""
        self.overlay()
        self.overlay()
        chain = self.machine.images_of(DISK)
        self.finish(self.machine.commit_disk(DISK, top=chain[1].path, base=chain[2].path))
        if len(chain) > 4:
            self.finish(self.machine.commit_disk(DISK))

    def stream(self) -> None:
        """Of all, or down to an image that stays."""
        self.overlay()
        self.overlay()
        chain = self.machine.images_of(DISK)
        base = chain[2].path if self._rng.random() < 0.5 and len(chain) < 6 else ""
        self.finish(self.machine.stream_disk(DISK, base=base))

    def mirror(self) -> None:
        path, format = self.target()
        self.finish(self.machine.mirror_disk(DISK, path, format=format))

    def backup(self) -> None:
        path, format = self.target()
        self.finish(self.machine.backup_disk(DISK, path, format=format))


JOBS = {
    "commit": Work.commit,
    "middle": Work.middle,
    "stream": Work.stream,
    "mirror": Work.mirror,
    "backup": Work.backup,
}


def work_for_ever(path: str, seed: int, kind: str, *, goes_on: bool) -> None:
    """Write to the disk of a machine whose image the file at ``path`` names."""
    rng, where = random.Random(seed), Path(path)
    folder = where.parent
    disk, format = json.loads(where.read_text())
    with driven(folder, Path(disk), format=format) as machine:

        def note(moves: Moves) -> None:
            draft = folder / f"{CURRENT}.new"
            draft.write_text(json.dumps((moves[DISK].path, moves[DISK].format)))
            os.replace(draft, where)

        machine.on_moved = note
        driver = DiskDriver(machine)
        thread = threading.Thread(
            target=do_jobs, args=(Work(machine, folder, random.Random(seed)), kind, goes_on)
        )
        thread.start()
        write_for_ever(driver, seed, rng, goes_on=goes_on)


def do_jobs(work: Work, kind: str, goes_on: bool) -> None:
    """One after the other, until the end."""
    try:
        while True:
            try:
                JOBS[kind](work)
            except (BimetalError, OSError):
                if not goes_on:
                    raise
    except BaseException as error:
        tell(f"the jobs have failed: {error!r}")
        raise


def write_for_ever(driver: DiskDriver, seed: int, rng: random.Random, *, goes_on: bool) -> None:
    stamp = (seed + 1) << 32
    for first, count in ranges(driver.size // SECTOR, rng):
        stamp += 1
        try:
            if rng.random() < 0.1:
                tell(f"0 {first} {count}")
                driver.zero(first * SECTOR, count * SECTOR, unmap=rng.random() < 0.5)
            else:
                tell(f"{stamp} {first} {count}")
                data = b"".join(content(stamp, first + at) for at in range(count))
                driver.write_at(first * SECTOR, data)
            if rng.random() < 0.05:
                driver.flush()
        except OSError as error:
            if not goes_on:
                raise
            tell(f"failed: {error}")
            continue
        tell("done")


class LiveTrials(Trials):
    """Trials with jobs of one ``kind``, beginning with a qcow2 image."""

    lives = (100, 300, 1000)

    def __init__(self, kind: str, folder: Path, seed: int):
        super().__init__("plain", folder, seed)
        self._kind, self._folder = kind, folder
        self._where = folder / CURRENT

        self.moves = 0
        """How often the disk had another image at the end of a trial."""

    def _renew(self) -> None:
        super()._renew()
        self._where.write_text(json.dumps((str(self._path), "qcow2")))

    def _live(self, way: str, seed: int, told: int) -> None:
        def write(path: str, seed: int, *, goes_on: bool) -> None:
            work_for_ever(str(self._where), seed, self._kind, goes_on=goes_on)

        live(way, self._path, seed, told, write, self.lives)

    def _seen(self) -> list[bytes]:
        path, format = json.loads(self._where.read_text())
        disk = open_disk(path, readonly=True, format=format)
        shown = disk.read(0, disk.size)
        disk.close()
        used = {*self._chain(path, format), self._path, self._new, self._where}
        for other in {*self._folder.iterdir()} - used:
            other.unlink()
        self.moves += path != str(self._path)
        out = self._folder / "seen.img"
        qemu.img("convert", "-f", format, "-O", "raw", path, out)
        assert out.read_bytes() == shown
        return sectors(shown)

    @staticmethod
    def _chain(path: str, format: str) -> Iterator[Path]:
        """The images of the disk, all of which are sound."""
        for each in images.chain(path, format=format):
            if each.format == "qcow2":
                qemu.check(Path(each.path))
            yield Path(each.path)


def main(kind: str, number: int, seed: int) -> None:
    with tempfile.TemporaryDirectory(prefix="trials-") as folder:
        trials = LiveTrials(kind, Path(folder), seed)
        for _ in range(number):
            trials.trial()
    counts = ", ".join(f"{way} {trials.counts[way]}" for way in WAYS)
    print(
        f"{kind}: {number} trials ({counts}), {trials.answered} answered requests, none lost; "
        f"{trials.moves} ended on another image"
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
