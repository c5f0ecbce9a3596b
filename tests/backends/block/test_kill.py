"""Real processes that write to a disk and are killed: nothing that was answered is lost.

`test_crash` simulates the same at every moment; here are the real kernel, file and SIGKILL.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bimetal.backends.block.choose import open_disk
from tests.backends.block.crash import sectors
from tests.backends.block.qcow2 import qemu
from tests.backends.block.writer import content

pytestmark = qemu.needs_qemu

ROOT = Path(__file__).parents[3]

KINDS = {"raw": None, **qemu.KINDS}

SLOW_TRIALS = 100


class Victims:
    """Processes that write to an image of one kind, one after the other."""

    def __init__(self, kind: str, folder: Path, seed: int):
        self._rng = random.Random(f"{kind} {seed}")
        source = folder / "source.img"
        source.write_bytes(qemu.noise(self._rng, qemu.SIZE))
        make = KINDS[kind]
        self._new = source if make is None else make(source, folder / "new.qcow2")
        self._path = folder / ("disk.img" if make is None else "disk.qcow2")
        self._first = sectors(source.read_bytes())
        self._shown: list[bytes] = []

    def trial(self) -> None:
        """Kill one, and see what it left. The next one has a new image or goes on with that."""
        if not self._shown or self._rng.random() < 0.5:
            shutil.copy(self._new, self._path)
            self._shown = self._first
        may = self._promised(self._killed(self._rng.choice((3, 30, 300, 1000))))
        shown = self._seen()
        for number, (sector, allowed) in enumerate(zip(shown, may, strict=True)):
            assert sector in allowed, f"sector {number}"
        self._shown = shown

    def _killed(self, lines: int) -> list[str]:
        """What a process told that was killed when it had told so many lines, or a few more."""
        command = [sys.executable, "-m", "tests.backends.block.writer", str(self._path)]
        command.append(str(self._rng.getrandbits(30)))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            told = [process.stdout.readline() for _ in range(self._rng.randrange(1, lines + 1))]
            process.kill()
            told += process.stdout
        assert process.returncode == -signal.SIGKILL
        return told

    def _promised(self, told: list[str]) -> list[list[bytes]]:
        """What each sector may hold: what was answered last, or what was not answered yet."""
        may = [[sector] for sector in self._shown]
        asked: list[tuple[int, int, int]] = []
        for line in told:
            if line == "done\n":
                for stamp, first, count in asked:
                    for number in range(first, first + count):
                        may[number] = [content(stamp, number)]
                asked.clear()
            elif line.endswith("\n"):
                stamp, first, count = map(int, line.split())
                asked.append((stamp, first, count))
        for stamp, first, count in asked:
            for number in range(first, first + count):
                may[number] = [*may[number], content(stamp, number)]
        return may

    def _seen(self) -> list[bytes]:
        """What the disk shows, to us and to QEMU, which finds nothing wrong with it."""
        disk = open_disk(str(self._path), readonly=True)
        shown = disk.read(0, disk.size)
        disk.close()
        if self._path.suffix == ".qcow2":
            qemu.check(self._path)
            assert qemu.content(self._path) == shown
        return sectors(shown)


@pytest.mark.parametrize("kind", ["raw", "plain", "over_raw", "with_snapshots"])
def test_what_was_answered_survives_kill(kind: str, tmp_path: Path) -> None:
    victims = Victims(kind, tmp_path, seed=1)
    for _ in range(2):
        victims.trial()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_hundred_processes_are_killed(kind: str, tmp_path: Path) -> None:
    victims = Victims(kind, tmp_path, seed=2)
    for _ in range(SLOW_TRIALS):
        victims.trial()
