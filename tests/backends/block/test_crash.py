"""What was flushed survives every crash of the host, what was written every end of the process.

Images are small, so that clusters and tables begin and end in the middle of everything.
``pytest -m slow`` simulates 100,000 crashes.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.qcow2 import references, tables
from tests.backends.block.crash import SECTOR, ZERO, Guest, Recording, sectors
from tests.host import programs

KIB = 1 << 10

SESSION_STATES = 50
"""Crashes simulated of what one guest did."""

ALL_STATES = 100_000

QEMU_STATES = 50
"""One of so many images is judged by qemu-img too."""

needs_qemu = programs("qemu-img")


CLEAN, LEAKS = 0, 3
"""What qemu-img check returns for sound images, and for those that waste space."""


def img(*arguments: object) -> None:
    subprocess.run(["qemu-img", *map(str, arguments)], check=True, capture_output=True)


def check(path: Path) -> int:
    command = ["qemu-img", "check", "-q", "-f", "qcow2", str(path)]
    return subprocess.run(command, capture_output=True, check=False).returncode


def listed(options: dict[str, object]) -> list[str]:
    return ["-o", ",".join(f"{name}={value}" for name, value in options.items())]


@dataclass(frozen=True)
class Kind:
    """A kind of image: the size of its disk, and how to make one in a folder that shows certain
    bytes, the last ``blank`` ones of which are zero."""

    size: int
    make: Callable[[Path, bytes], Path]
    blank: int = 0

    def content(self, rng: random.Random) -> bytes:
        """Bytes that an image may show: here and there a sector is zero."""
        content = b"".join(
            ZERO if rng.random() < 0.3 else rng.randbytes(8) * (SECTOR // 8)
            for _ in range((self.size - self.blank) // SECTOR)
        )
        return content + bytes(self.blank)


def raw(folder: Path, content: bytes) -> Path:
    path = folder / "disk.img"
    path.write_bytes(content)
    return path


def alone(*arguments: str, snapshots: int = 0, **options: object) -> Callable[[Path, bytes], Path]:
    """An image without a backing file."""

    def make(folder: Path, content: bytes) -> Path:
        path = folder / "disk.qcow2"
        source = raw(folder, content)
        img("convert", *arguments, "-f", "raw", "-O", "qcow2", *listed(options), source, path)
        for number in range(snapshots):
            img("snapshot", "-c", f"snapshot {number}", path)
        return path

    return make


def over(
    base: Callable[[Path, bytes], Path], *, short: int = 0, **options: object
) -> Callable[[Path, bytes], Path]:
    """An image on top of another, which may be shorter by some bytes."""

    def make(folder: Path, content: bytes) -> Path:
        below = folder / "base"
        below.mkdir()
        path = base(below, content[: len(content) - short])
        format = "raw" if path.suffix == ".img" else "qcow2"
        top = folder / "disk.qcow2"
        name = path.relative_to(folder)
        img("create", "-f", "qcow2", "-F", format, "-b", name, *listed(options), top, len(content))
        return top

    return make


KINDS = {
    "raw": Kind(24 * KIB, raw),
    "empty, clusters of 512": Kind(80 * KIB, alone(cluster_size=512), blank=80 * KIB),
    "empty, clusters of 4K": Kind(101 * KIB, alone(cluster_size=4096), blank=101 * KIB),
    "empty, clusters of 64K": Kind(500 * KIB, alone(cluster_size=65536), blank=500 * KIB),
    "full, clusters of 512": Kind(40 * KIB, alone(cluster_size=512)),
    "full, clusters of 4K": Kind(101 * KIB, alone(cluster_size=4096)),
    "full, clusters of 64K": Kind(260 * KIB, alone(cluster_size=65536)),
    "version 2": Kind(40 * KIB, alone(compat="0.10", cluster_size=4096)),
    "allocated before": Kind(80 * KIB, alone(preallocation="metadata", cluster_size=4096)),
    "lazy counts": Kind(40 * KIB, alone(lazy_refcounts="on", cluster_size=512)),
    "compressed, clusters of 512": Kind(40 * KIB, alone("-c", cluster_size=512)),
    "compressed, clusters of 4K": Kind(101 * KIB, alone("-c", cluster_size=4096)),
    "over raw, clusters of 512": Kind(40 * KIB, over(raw, cluster_size=512)),
    "over raw, clusters of 4K": Kind(101 * KIB, over(raw, cluster_size=4096)),
    "over raw, clusters of 64K": Kind(260 * KIB, over(raw, cluster_size=65536)),
    "over less": Kind(90 * KIB, over(raw, short=37 * KIB, cluster_size=4096), blank=37 * KIB),
    "version 2 over raw": Kind(60 * KIB, over(raw, compat="0.10", cluster_size=4096)),
    "over compressed": Kind(60 * KIB, over(alone("-c", cluster_size=512), cluster_size=4096)),
    "a snapshot, clusters of 512": Kind(40 * KIB, alone(snapshots=1, cluster_size=512)),
    "three snapshots, clusters of 4K": Kind(101 * KIB, alone(snapshots=3, cluster_size=4096)),
    "a snapshot of compressed": Kind(60 * KIB, alone("-c", snapshots=1, cluster_size=1024)),
    "zstd": Kind(40 * KIB, alone("-c", compression_type="zstd", cluster_size=4096)),
    "subclusters": Kind(101 * KIB, alone(extended_l2="on", cluster_size=16384)),
    "subclusters, empty": Kind(
        500 * KIB, alone(extended_l2="on", cluster_size=65536), blank=500 * KIB
    ),
    "subclusters over raw": Kind(101 * KIB, over(raw, extended_l2="on", cluster_size=16384)),
    "subclusters over less": Kind(
        101 * KIB, over(raw, short=37 * KIB, extended_l2="on", cluster_size=16384), blank=37 * KIB
    ),
    "a snapshot of subclusters": Kind(
        101 * KIB, alone(snapshots=1, extended_l2="on", cluster_size=16384)
    ),
    "a snapshot over raw": Kind(60 * KIB, over(raw, cluster_size=2048)),
    **{
        f"counts of {bits} bits": Kind(
            40 * KIB, alone(snapshots=int(bits > 1), refcount_bits=bits, cluster_size=512)
        )
        for bits in (1, 2, 4, 8, 32, 64)
    },
}


@pytest.fixture(autouse=True)
def _everything_is_scarce(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are small and caches full, so that a short session sees all of them change."""
    monkeypatch.setattr(references, "BATCH_BYTES", 16 * KIB)
    monkeypatch.setattr(references, "FILLING_BYTES", 32 * KIB)
    monkeypatch.setattr(references, "WAITING_BYTES", 24 * KIB)
    monkeypatch.setattr(tables, "CACHED_BYTES", 0)


class Laboratory:
    """Images of one kind, used by guests and wrecked."""

    def __init__(self, kind: Kind, folder: Path, seed: int):
        self._rng = random.Random(seed)
        self._content = kind.content(self._rng)
        self._path = kind.make(folder, self._content)
        self._image = self._path.read_bytes()
        self.wrecks = 0

    def crash(self, states: int) -> None:
        """Guests on the image, each of which crashes again and again; somebody uses one of the
        wrecks, and crashes too."""
        while self.wrecks < states:
            recording, guest = self._session(self._image, self._content)
            for _ in range(SESSION_STATES):
                wreck, shown = self._crash(recording, guest)
            recording, guest = self._session(wreck, shown)
            for _ in range(SESSION_STATES // 5):
                self._crash(recording, guest)

    def kill(self) -> None:
        """A guest on the image that is killed at every moment."""
        recording, guest = self._session(self._image, self._content)
        for position in range(len(recording) + 1):
            self._judge(recording.killed(position), guest.promised(position, killed=True))

    def _session(self, image: bytes, content: bytes) -> tuple[Recording, Guest]:
        """What a guest does to ``image``, whose disk shows ``content``."""
        self._store(image)
        recording = Recording(self._path)
        guest = Guest(content, recording, self._rng)
        with recording.running():
            disk = open_disk(str(self._path))
            guest.use(disk, self._rng.randrange(1, 25))
            guest.close(disk)
        return recording, guest

    def _crash(self, recording: Recording, guest: Guest) -> tuple[bytes, bytes]:
        """A wreck that a crash leaves, and what its disk shows."""
        position = self._rng.randrange(len(recording) + 1)
        wreck = recording.crashed(position, self._rng)
        return wreck, self._judge(wreck, guest.promised(position))

    def _judge(self, wreck: bytes, promised: list[list[bytes]]) -> bytes:
        """What the disk in ``wreck`` shows, which must be what was promised. It can be used as
        before, and nothing in it is wrong or wasted after that."""
        self._store(wreck)
        self.wrecks += 1
        asked = self.wrecks % QEMU_STATES == 0
        if asked and self._path.suffix == ".qcow2":
            assert check(self._path) in (CLEAN, LEAKS)
        with Recording(self._path).running():
            disk = open_disk(str(self._path))
            shown = disk.read(0, disk.size)
            for number, (sector, may) in enumerate(zip(sectors(shown), promised, strict=True)):
                assert sector in may, f"sector {number} of wreck {self.wrecks}"
            disk.write(0, shown[:SECTOR])
            disk.close()
        if asked:
            assert self._seen_by_qemu() == shown
        return shown

    def _store(self, image: bytes) -> None:
        """Put ``image`` into the file; a file that is emptied first is slow on some hosts."""
        with self._path.open("r+b") as file:
            file.write(image)
            file.truncate()

    def _seen_by_qemu(self) -> bytes:
        if self._path.suffix != ".qcow2":
            return self._path.read_bytes()
        assert check(self._path) == CLEAN
        out = self._path.with_suffix(".seen")
        img("convert", "-f", "qcow2", "-O", "raw", self._path, out)
        return out.read_bytes()


@needs_qemu
@pytest.mark.parametrize("name", KINDS)
def test_no_crash_of_the_host_loses_what_was_flushed(name: str, tmp_path: Path) -> None:
    Laboratory(KINDS[name], tmp_path, seed=1).crash(SESSION_STATES)


@needs_qemu
@pytest.mark.parametrize("name", KINDS)
def test_no_end_of_the_process_loses_what_was_written(name: str, tmp_path: Path) -> None:
    Laboratory(KINDS[name], tmp_path, seed=2).kill()


@pytest.mark.slow
@needs_qemu
@pytest.mark.parametrize("name", KINDS)
def test_nor_do_a_hundred_thousand_crashes(name: str, tmp_path: Path) -> None:
    Laboratory(KINDS[name], tmp_path, seed=3).crash(-(-ALL_STATES // len(KINDS)))


def test_a_temporary_layer_never_writes_the_image(tmp_path: Path) -> None:
    rng = random.Random(4)
    kind = KINDS["raw"]
    content = kind.content(rng)
    path = kind.make(tmp_path, content)
    recording = Recording(path)
    guest = Guest(content, recording, rng)
    with recording.running():
        disk = open_disk(str(path), snapshot=True)
        guest.use(disk, 100)
        guest.close(disk)
    assert not recording.events
    assert path.read_bytes() == content
