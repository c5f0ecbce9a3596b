"""Changes of an image happen at once or not at all, whatever ends them.

What is written meanwhile is recorded, and cut off after every write, in the middle of the last one
too, and as a crash of the host may leave it. Each wreck must be a sound image (leaks aside) that
shows the disk as it was or as it should be.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bimetal import images
from bimetal.backends.block.bitmaps import DirtyBitmap
from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.qcow2.changes import (
    apply_snapshot,
    create_snapshot,
    delete_snapshot,
    empty,
    grow,
    lay_on,
    shrink,
)
from bimetal.backends.block.qcow2.image import Qcow2Image
from bimetal.backends.block.qcow2.keeping import KeptBitmaps
from bimetal.backends.block.qcow2.packing import Packer
from bimetal.backends.block.qcow2.preallocate import preallocate
from tests.backends.block.crash import SECTOR, Recording, Write
from tests.backends.block.qcow2.qemu import CLEAN, KIB, LEAKS, img, needs_qemu, noise

pytestmark = needs_qemu

SIZE = 150 * KIB + SECTOR

Change = Callable[[Qcow2Image], None]


def pack(disk: Qcow2Image) -> None:
    """Write the first half compressed."""
    cluster = disk.header.cluster
    half = SIZE // 2 // cluster * cluster
    packer = Packer(disk)
    for at in range(0, half, 4 * cluster):
        packer.write(at, memoryview(b"new!" * (min(4 * cluster, half - at) // 4)))


def keep(disk: Qcow2Image) -> None:
    create_snapshot(disk, "new", 10**18)


def keep_bitmaps(disk: Qcow2Image) -> None:
    bitmaps = KeptBitmaps(disk.file, disk.header)
    for number in range(3):
        bitmaps.add(DirtyBitmap(f"{number}", SIZE, SECTOR, persistent=True))
        bitmaps.mark(number * 9 * SECTOR, 5 * SECTOR)
        bitmaps.store(disk)


CHANGES: dict[str, Change] = {
    "keep bitmaps": keep_bitmaps,
    "create a snapshot": keep,
    "apply a snapshot": lambda disk: apply_snapshot(disk, "one"),
    "delete a snapshot": lambda disk: delete_snapshot(disk, "two"),
    "grow": lambda disk: grow(disk, 2 * SIZE // SECTOR * SECTOR),
    "grow much": lambda disk: grow(disk, 1 << 22),
    "shrink": lambda disk: shrink(disk, SIZE // 3 // SECTOR * SECTOR),
    "empty": empty,
    "lay on another": lambda disk: lay_on(disk, "other.raw", "raw"),
    "lay on a long name": lambda disk: lay_on(disk, "o" * 150, "raw"),
    "lay on nothing": lambda disk: lay_on(disk, None, None),
}

QUICK = ("keep bitmaps", "create a snapshot", "delete a snapshot", "shrink", "lay on another")

LAYOUTS: dict[str, dict[str, object]] = {
    "clusters of 512": {"cluster_size": 512},
    "clusters of 4K": {"cluster_size": 4096},
    "clusters of 64K": {"cluster_size": 65536},
    "subclusters": {"cluster_size": 16384, "extended_l2": "on"},
    "wide counts": {"cluster_size": 1024, "refcount_bits": 64},
    "narrow counts": {"cluster_size": 2048, "refcount_bits": 8},
}


def make(folder: Path, options: dict[str, object]) -> Path:
    """An image over another, with two snapshots, some clusters of which are compressed."""
    rng = random.Random(1)
    for name in ("base.raw", "other.raw", "o" * 150):
        (folder / name).write_bytes(noise(rng, 2 * SIZE // SECTOR * SECTOR))
    source, path = folder / "source.raw", folder / "disk.qcow2"
    content = bytearray((folder / "base.raw").read_bytes()[:SIZE])
    content[20 * KIB : 90 * KIB] = noise(rng, 70 * KIB)
    source.write_bytes(content)
    words = ",".join(f"{name}={value}" for name, value in options.items())
    img("convert", "-c", "-f", "raw", "-O", "qcow2", "-B", "base.raw", "-F", "raw",
        "-o", words, source, path)  # fmt: skip
    for number, name in enumerate(("one", "two")):
        with closing(open_disk(str(path))) as disk:
            disk.write(number * 30 * KIB, noise(rng, 25 * KIB))
        img("snapshot", "-c", name, path)
    with closing(open_disk(str(path))) as disk:
        disk.write(50 * KIB, noise(rng, 10 * KIB))
    return path


def shown(path: Path) -> bytes:
    with closing(open_disk(str(path), readonly=True)) as disk:
        return disk.read(0, disk.size)


def wrecks(recording: Recording, rng: random.Random) -> Iterator[bytes]:
    """What may be left in the file: after each write, with the next one torn, and after crashes of
    the host."""
    for position in range(len(recording) + 1):
        whole = recording.killed(position)
        yield whole
        event = recording.events[position] if position < len(recording) else None
        if isinstance(event, Write) and len(event.data) > SECTOR:
            torn = bytearray(whole)
            cut = rng.randrange(SECTOR, len(event.data), SECTOR)
            Write(event.offset, event.data[:cut]).apply(torn)
            yield bytes(torn)
        for _ in range(2):
            yield recording.crashed(position, rng)


def judge(path: Path, wreck: bytes, may: set[bytes], *, by_qemu: bool) -> None:
    path.write_bytes(wreck)
    found = images.check(str(path))
    assert found.is_sound, found.messages
    assert shown(path) in may
    if by_qemu:
        command = ["qemu-img", "check", "-q", "-f", "qcow2", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode in (CLEAN, LEAKS), done.stdout + done.stderr
    with closing(open_disk(str(path))) as disk:
        disk.write(0, disk.read(0, SECTOR))
    assert not images.check(str(path)).findings.leaks


def play(path: Path, change: Change, *, every: int) -> int:
    """Make the change, and judge every wreck that it may leave; how many there were."""
    before = shown(path)
    recording = Recording(path)
    with recording.running():
        disk = open_disk(str(path))
        assert isinstance(disk, Qcow2Image)
        change(disk)
        disk.close()
    may = {before, shown(path)}
    count = 0
    for number, wreck in enumerate(wrecks(recording, random.Random(2))):
        with Recording(path).running():
            judge(path, wreck, may, by_qemu=number % every == 0)
        count += 1
    return count


@pytest.mark.parametrize("name", QUICK)
def test_a_change_is_made_at_once(name: str, tmp_path: Path) -> None:
    path = make(tmp_path, LAYOUTS["clusters of 4K"])
    assert play(path, CHANGES[name], every=40) > 3


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", CHANGES)
def test_changes_of_all_layouts(name: str, layout: str, tmp_path: Path) -> None:
    path = make(tmp_path, LAYOUTS[layout])
    assert play(path, CHANGES[name], every=4) > 3


@pytest.mark.parametrize("change", [pack, lambda disk: preallocate(disk, 0, SIZE, full=False)])
def test_what_changes_clusters_leaves_none_half_done(change: Change, tmp_path: Path) -> None:
    """Clusters of the disk are changed one by one: each shows what it did, or what it should."""
    cluster = 4096
    path = tmp_path / "disk.qcow2"
    source = tmp_path / "source.raw"
    source.write_bytes(noise(random.Random(1), SIZE // 3).ljust(SIZE, b"\0"))
    img("convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=4096", source, path)
    before = shown(path)
    recording = Recording(path)
    with recording.running():
        disk = open_disk(str(path))
        assert isinstance(disk, Qcow2Image)
        change(disk)
        disk.close()
    after = shown(path)
    for wreck in wrecks(recording, random.Random(2)):
        path.write_bytes(wreck)
        assert images.check(str(path)).is_sound
        seen = shown(path)
        for at in range(0, SIZE, cluster):
            assert seen[at : at + cluster] in (before[at : at + cluster], after[at : at + cluster])
