"""Trials of what may happen to a process that writes to a disk: thousands, one after the other.

``python -m tests.backends.block.trials KIND NUMBER SEED`` makes an image of the kind and has it
written by one process after the other, each of which ends in one of three ways:

* ``kill``: by SIGKILL at some moment,
* ``torn``: by SIGKILL in the middle of a write, of which some sectors are in the file, or just
  before or after the file is made longer or flushed,
* ``full``: its file may not grow any more (RLIMIT_FSIZE), so that requests fail; then by SIGKILL.

After each, the disk shows what was answered, where a request was under way or failed what was there
or what was to be written, and everywhere else what it showed before. The next process goes on with
the image, or has a new one. Every tenth image is judged by qemu-img too. What is wrong ends the
program with a traceback; at the end it prints how many trials there were.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

from bimetal.backends.block.choose import open_disk
from bimetal.base.errors import BimetalError
from tests.backends.block.crash import sectors
from tests.backends.block.qcow2 import qemu
from tests.backends.block.writer import SECTOR, content, write_for_ever

__all__ = ["KINDS", "WAYS", "Trials", "live"]

KINDS = {
    "raw": None,
    **{name: make for name, make in qemu.KINDS.items() if "outside" not in name},
}

WAYS = ("kill", "torn", "full")

JUDGED = 10
"""One of so many images is judged by qemu-img too."""


class Trials:
    """Trials with images of one kind; ``counts`` has how many ended in each way."""

    lives = (3, 30, 100)
    """Requests, or changes of files, before the end, of which one is drawn and less are made."""

    def __init__(self, kind: str, folder: Path, seed: int):
        self._rng = random.Random(f"{kind} {seed}")
        source = folder / "source.img"
        source.write_bytes(qemu.noise(self._rng, qemu.SIZE))
        make = KINDS[kind]
        self._new = source if make is None else make(source, folder / "new.qcow2")
        self._path = folder / ("disk.img" if make is None else "disk.qcow2")
        self._first = sectors(source.read_bytes())
        self._shown: list[bytes] = []
        self.counts: Counter[str] = Counter()
        self.answered = 0

    def trial(self) -> None:
        """One process, and what it left."""
        if not self._shown or self._rng.random() < 0.3:
            self._renew()
            self._shown = self._first
        way = self._rng.choice(WAYS)
        may = self._promised(self._ended(way), may_fail=way == "full")
        shown = self._seen()
        for number, (sector, allowed) in enumerate(zip(shown, may, strict=True)):
            wrong = f"{way}: sector {number}: {runs(sector)}"
            assert sector in allowed, wrong
        self._shown = shown
        self.counts[way] += 1

    def _renew(self) -> None:
        """Have the image be as new."""
        shutil.copy(self._new, self._path)

    def _live(self, way: str, seed: int, told: int) -> None:
        """Write until the end, in a process of its own."""
        live(way, self._path, seed, told, write_for_ever, self.lives)

    def _ended(self, way: str) -> list[str]:
        """What a process told that ended in this way."""
        seed, lines = self._rng.getrandbits(30), self._rng.choice(self.lives)
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            self._live(way, seed, theirs)
        os.close(theirs)
        with open(ours) as told:
            first = [told.readline() for _ in range(self._rng.randrange(1, lines + 1))]
            os.kill(child, signal.SIGKILL)
            lines_told = first + list(told)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL, f"{way}: the process failed"
        return lines_told

    def _promised(self, told: Sequence[str], *, may_fail: bool) -> list[list[bytes]]:
        """What each sector may hold."""
        may = [[sector] for sector in self._shown]
        asked: list[tuple[int, int, int]] = []
        for line in told:
            if line == "done\n":
                self.answered += len(asked)
                for stamp, first, count in asked:
                    for number in range(first, first + count):
                        may[number] = [content(stamp, number)]
                asked.clear()
            elif line.startswith("failed"):
                assert may_fail, line
                _add(may, asked)
                asked.clear()
            elif line.endswith("\n"):
                assert line[0].isdecimal(), line
                stamp, first, count = map(int, line.split())
                asked.append((stamp, first, count))
        _add(may, asked)
        return may

    def _seen(self) -> list[bytes]:
        """What the disk shows, to us and now and then to QEMU, which finds nothing wrong."""
        disk = open_disk(str(self._path), readonly=True)
        shown = disk.read(0, disk.size)
        disk.close()
        if self._path.suffix == ".qcow2" and self._rng.randrange(JUDGED) == 0:
            qemu.check(self._path)
            assert qemu.content(self._path) == shown
        return sectors(shown)


def runs(sector: bytes) -> list[tuple[bytes, int]]:
    """A sector in words of 16 bytes, and how often each comes."""
    words = [sector[at : at + 16] for at in range(0, len(sector), 16)]
    return [(word, sum(1 for _ in same)) for word, same in groupby(words)]


def _add(may: list[list[bytes]], asked: list[tuple[int, int, int]]) -> None:
    """What was not answered may be there or not, sector by sector."""
    for stamp, first, count in asked:
        for number in range(first, first + count):
            may[number] = [*may[number], content(stamp, number)]


def live(
    way: str,
    path: Path,
    seed: int,
    told: int,
    write: Callable[..., object],
    lives: Sequence[int],
) -> None:
    """``write`` to the image at a path until the end, which comes in one of the ways."""
    try:
        os.dup2(told, 1)
        rng = random.Random(seed)
        if way == "torn":
            _tear(rng, rng.choice(lives))
        elif way == "full":
            room = rng.choice((0, 512, 65536, 1 << 20, 2 << 20))
            limit = path.stat().st_size + rng.choice((-1, 1, 1)) * rng.randrange(room + 1)
            limit = max(limit // SECTOR * SECTOR, 0)  # disks are full sector by sector
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        write(str(path), seed, goes_on=way == "full")
    except BimetalError:
        if way == "full":  # there is no room to mend what the last one left: it stays as it is
            os.kill(os.getpid(), signal.SIGKILL)
        traceback.print_exc()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def _tear(rng: random.Random, most: int) -> None:
    """Have this process end at, or in, some system call that changes the file."""
    left = rng.randrange(1, most + 1)
    pwritev, ftruncate, fdatasync = os.pwritev, os.ftruncate, os.fdatasync

    def is_last() -> bool:
        nonlocal left
        left -= 1
        return left == 0

    def end() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def writing(fd: int, buffers: Sequence[memoryview], offset: int, flags: int = 0) -> int:
        if not is_last():
            return pwritev(fd, buffers, offset, flags)
        data = b"".join(buffers)
        stop = (offset + rng.randrange(len(data) + 1)) // SECTOR * SECTOR
        pwritev(fd, [data if rng.random() < 0.2 else data[: max(stop - offset, 0)]], offset)
        end()
        return 0

    def resizing(fd: int, length: int) -> None:
        last = is_last()
        if last and rng.random() < 0.5:
            end()
        ftruncate(fd, length)
        if last:
            end()

    def flushing(fd: int) -> None:
        if is_last():
            end()
        fdatasync(fd)

    os.pwritev, os.ftruncate, os.fdatasync = writing, resizing, flushing  # type: ignore[assignment]


def main(kind: str, number: int, seed: int) -> None:
    with tempfile.TemporaryDirectory(prefix="trials-") as folder:
        trials = Trials(kind, Path(folder), seed)
        for _ in range(number):
            trials.trial()
    counts = ", ".join(f"{way} {trials.counts[way]}" for way in WAYS)
    print(f"{kind}: {number} trials ({counts}), {trials.answered} answered requests, none lost")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
