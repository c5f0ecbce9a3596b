"""Dirty bitmaps are kept up in images that machines write. QEMU is the judge of what they say."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from bimetal.backends.block import bitmaps
from bimetal.backends.block.bitmaps import DirtyBitmap
from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.file import ImageFile
from bimetal.backends.block.qcow2 import image, keeping
from bimetal.backends.block.qcow2.bitmaps import AUTO, IN_USE
from bimetal.backends.block.qcow2.changes import apply_snapshot, create_snapshot, grow
from bimetal.backends.block.qcow2.counts import Counts
from bimetal.backends.block.qcow2.header import Header
from bimetal.backends.block.qcow2.header_place import store_header
from bimetal.backends.block.qcow2.image import Qcow2Image
from bimetal.base.errors import BimetalError
from tests.backends.block.crash import Recording
from tests.backends.block.qcow2.qemu import CLEAN, KIB, LEAKS, MIB, check, create, img
from tests.backends.block.qcow2.test_at_once import wrecks
from tests.backends.block.qcow2.test_bitmaps import changes, flags, serves
from tests.host import programs

pytestmark = programs("qemu-img", "qemu-io", "qemu-nbd")

SIZE = 8 * MIB
GRANULE = 64 * KIB
LATER = 4
"""A flag of a bitmap that QEMU 7.2 does not know."""


def opened(path: Path) -> Qcow2Image:
    disk = open_disk(str(path), bitmaps=True)
    assert isinstance(disk, Qcow2Image)
    assert disk.bitmaps is not None
    return disk


def kept(disk: Qcow2Image) -> keeping.KeptBitmaps:
    assert disk.bitmaps is not None
    return disk.bitmaps


def whole(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Granules that ranges touch, as runs."""
    touched = sorted(
        {
            granule
            for offset, length in ranges
            for granule in range(offset // GRANULE, -(-(offset + length) // GRANULE))
        }
    )
    runs: list[tuple[int, int]] = []
    for granule in touched:
        if runs and sum(runs[-1]) == granule * GRANULE:
            runs[-1] = (runs[-1][0], runs[-1][1] + GRANULE)
        else:
            runs.append((granule * GRANULE, GRANULE))
    return runs


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An image with a bitmap that tells of changes, and one that does not any more."""
    path = create(tmp_path / "disk.qcow2", SIZE)
    img("bitmap", "--add", path, "on")
    img("bitmap", "--add", "--disable", path, "off")
    return path


def writes(seed: int) -> list[tuple[int, int]]:
    rng = random.Random(seed)
    starts = [rng.randrange(SIZE // 512 - 300) * 512 for _ in range(12)]
    return [(start, rng.randrange(1, 300) * 512) for start in starts]


@pytest.mark.parametrize("seed", range(4))
def test_qemu_is_told_what_has_changed(path: Path, seed: int) -> None:
    done: list[tuple[int, int]] = []
    for part in range(3):
        disk = opened(path)
        kept(disk).add(DirtyBitmap(f"new{part}", SIZE, 512, persistent=True))
        for offset, length in writes(10 * seed + part):
            kind = (offset // 512) % 4
            if kind == 0:
                disk.write_zeroes(offset, length, unmap=True)
            elif kind == 1 and disk.write_now(offset, [memoryview(b"n" * length)]):
                pass
            else:
                disk.write(offset, b"w" * length)
            done.append((offset, length))
        disk.close()
        assert check(path) == CLEAN
        assert changes(path, "on") == whole(done)
        assert changes(path, "off") == []
    assert flags(path) == {"on": ["auto"], "off": []} | {f"new{n}": ["auto"] for n in range(3)}


def test_what_is_only_opened_stays_valid(path: Path) -> None:
    """Whatever ends the process then."""
    disk = opened(path)
    assert flags_of(path) == {"on": ["auto"], "off": []}
    disk.write(0, bytes(512))
    assert flags_of(path) == {"on": ["in-use", "auto"], "off": ["in-use"]}
    disk.rest()
    assert flags_of(path) == {"on": ["auto"], "off": []}
    disk.write(MIB, bytes(512))
    assert flags_of(path) == {"on": ["in-use", "auto"], "off": ["in-use"]}
    disk.close()
    assert changes(path, "on") == [(0, GRANULE), (MIB, GRANULE)]


def flags_of(path: Path) -> dict[str, list[str]]:
    """The flags in the file as they are while it is in use."""
    copy = path.with_name("copy.qcow2")
    copy.write_bytes(path.read_bytes())
    return flags(copy)


KILLED = """
import os, signal, sys
from bimetal.backends.block.bitmaps import DirtyBitmap
from bimetal.backends.block.choose import open_disk

disk = open_disk(sys.argv[1], bitmaps=True)
disk.bitmaps.add(DirtyBitmap("new", disk.size, 65536, persistent=True))
disk.bitmaps.store(disk)
disk.write(1 << 20, b"x" * 512)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_crash_leaves_them_inconsistent(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert flags(path) == {"on": ["in-use", "auto"], "off": ["in-use"], "new": ["in-use", "auto"]}
    assert not serves(path, "on")
    disk = opened(path)
    assert [each.inconsistent for each in kept(disk)] == [True] * 3
    kept(disk).remove("new")
    disk.write(0, bytes(512))
    kept(disk).outdate(disk)
    disk.close()
    assert flags(path) == {"on": ["in-use", "auto"], "off": ["in-use"]}
    assert check(path) == CLEAN


def test_no_room_for_them_leaves_them_inconsistent(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = opened(path)
    disk.write(MIB, b"x" * 512)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(keeping, "write_all", full)
    disk.close()
    assert flags(path) == {"on": ["in-use", "auto"], "off": ["in-use"]}
    assert check(path) == CLEAN


def test_clusters_that_could_not_be_counted_for_them_are_not_freed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    disk = opened(path)
    kept(disk).outdate(disk)
    with monkeypatch.context() as host:
        host.setattr(Counts, "set", broken)
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            kept(disk).store(disk)
    disk.close()
    assert flags(path) == {"on": ["auto"], "off": []}
    assert check(path) == CLEAN


def test_clusters_that_a_header_may_name_are_not_freed_when_it_could_not_be_made_safe(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(file: ImageFile, header: Header) -> None:
        store_header(file, header)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    disk = opened(path)
    disk.write(MIB, b"x" * 512)
    monkeypatch.setattr(image, "store_header", broken)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        kept(disk).store(disk)
    disk.close()
    assert check(path) in (CLEAN, LEAKS)
    assert changes(path, "on") == [(MIB, GRANULE)]


def test_an_inconsistent_one_stays_if_its_removal_could_not_be_stored(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    killed = {"on": ["in-use", "auto"], "off": ["in-use"], "new": ["in-use", "auto"]}
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert flags(path) == killed
    disk = opened(path)
    removed = kept(disk).remove("new")
    kept(disk).outdate(disk)
    with monkeypatch.context() as host:
        host.setattr(keeping, "write_all", full)
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            kept(disk).store(disk)
    kept(disk).add(removed)
    disk.close()
    assert flags(path) == killed
    assert check(path) == CLEAN


def test_one_in_the_place_of_an_inconsistent_one(path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    disk = opened(path)
    kept(disk).remove("on")
    kept(disk).add(DirtyBitmap("on", SIZE, GRANULE, persistent=True))
    kept(disk).outdate(disk)
    disk.close()
    assert flags(path) == {"on": ["auto"], "off": ["in-use"], "new": ["in-use", "auto"]}
    assert check(path) == CLEAN


def test_those_that_cannot_be_read_say_that_they_miss_changes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as host:
        host.setattr(keeping, "read_bits", broken)
        disk = open_disk(str(path), bitmaps=True)
    disk.write(MIB, b"x" * 512)
    disk.close()
    assert flags(path) == {"on": ["in-use", "auto"], "off": []}
    assert check(path) == CLEAN


@pytest.mark.parametrize("called", [b"o\xff", b"on"])
def test_what_only_others_know_of_says_that_it_misses_changes(path: Path, called: bytes) -> None:
    """A name that is no UTF-8, and a flag that came later: both stay what they are, beside a mark
    that they are in use."""
    first = path.read_bytes()
    at = first.index(struct.pack(">IIBBHI", 1, AUTO, 1, 16, 2, 0) + b"on") - 8
    strange = AUTO if called != b"on" else AUTO | LATER
    entry = first[at : at + 12] + strange.to_bytes(4, "big") + first[at + 16 : at + 24] + called
    path.write_bytes(first[:at] + entry + first[at + len(entry) :])
    disk = opened(path)
    assert [each.inconsistent for each in kept(disk)] == [True, False]
    disk.write(MIB, b"x" * 512)
    disk.close()
    left = path.read_bytes()
    marked = (strange | IN_USE).to_bytes(4, "big") + entry[16:]
    assert left.count(marked) >= 1
    assert left.count(strange.to_bytes(4, "big") + entry[16:]) == 0


@pytest.mark.parametrize("removed", [False, True])
def test_two_of_one_name_are_not_believed(path: Path, removed: bool) -> None:
    """No program makes such, and QEMU does not open their image: both stay what they are, beside a
    mark that they are in use, or both go."""
    first = path.read_bytes()
    img("bitmap", "--add", path, "of")
    left = path.read_bytes()
    at = left.rindex(struct.pack(">IIBBHI", 1, AUTO, 1, 16, 2, 0) + b"of")
    path.write_bytes(left[: at + 16] + b"on" + left[at + 18 :])
    assert path.read_bytes() != first
    disk = opened(path)
    assert [(each.name, each.inconsistent) for each in kept(disk)] == [("on", True), ("off", False)]
    disk.write(MIB, b"x" * 512)
    if removed:
        kept(disk).remove("on")
    disk.close()
    told = json.loads(img("info", "--output=json", path))
    there = [each["name"] for each in told["format-specific"]["data"]["bitmaps"]]
    assert there == (["off"] if removed else ["on", "on", "off"])
    if removed:
        assert check(path) == CLEAN


def test_those_that_memory_has_no_room_for_are_not_believed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bitmaps, "MEMORY_LIMIT", SIZE // GRANULE // 8)
    disk = opened(path)
    assert [each.inconsistent for each in kept(disk)] == [False, True]
    with pytest.raises(BimetalError, match="too much"):
        kept(disk).check_new("new", GRANULE)
    disk.write(MIB, b"x" * 512)
    disk.close()
    assert changes(path, "on") == [(MIB, GRANULE)]


def all_changed(disk: Qcow2Image) -> list[tuple[int, int]]:
    create_snapshot(disk, "s", 0)
    kept(disk)["on"].take()
    apply_snapshot(disk, "s")
    return [(0, SIZE)]


def larger(disk: Qcow2Image) -> list[tuple[int, int]]:
    grow(disk, 2 * SIZE)
    return [(SIZE, SIZE)]


def kept_with_a_snapshot(disk: Qcow2Image) -> list[tuple[int, int]]:
    disk.write(MIB, b"x" * 512)
    create_snapshot(disk, "s", 0)
    return [(MIB, GRANULE)]


@pytest.mark.parametrize("change", [all_changed, larger, kept_with_a_snapshot])
def test_changes_of_the_structure(
    path: Path, change: Callable[[Qcow2Image], list[tuple[int, int]]]
) -> None:
    disk = opened(path)
    expected = change(disk)
    disk.close()
    assert check(path) == CLEAN
    assert changes(path, "on") == expected
    assert flags(path) == {"on": ["auto"], "off": []}


def test_images_that_are_sealed_and_written_again(path: Path) -> None:
    disk = opened(path)
    disk.write(MIB, b"x" * 512)
    disk.seal()
    assert flags_of(path) == {"on": ["auto"], "off": []}
    disk.unseal()
    disk.write(2 * MIB, b"x" * 512)
    disk.seal()
    disk.close()
    assert changes(path, "on") == [(MIB, GRANULE), (2 * MIB, GRANULE)]


@pytest.mark.parametrize("cluster", [512, 2 * MIB])
def test_clusters_of_any_size(tmp_path: Path, cluster: int) -> None:
    path = create(tmp_path / "disk.qcow2", 64 * MIB, cluster_size=cluster)
    disk = opened(path)
    kept(disk).add(DirtyBitmap("all", disk.size, 512, persistent=True))
    kept(disk).add(DirtyBitmap("some", disk.size, 512, persistent=True, recording=False))
    kept(disk)["all"].mark(0, disk.size)
    kept(disk)["some"].mark(5 * MIB, 512)
    kept(disk).outdate(disk)
    disk.close()
    assert check(path) == CLEAN
    assert changes(path, "all") == [(0, 64 * MIB)]
    assert changes(path, "some") == [(5 * MIB, 512)]
    disk = opened(path)
    assert [[*each.runs()] for each in kept(disk)] == [[(0, 64 * MIB)], [(5 * MIB, 512)]]
    disk.close()


@pytest.mark.parametrize("seed", range(2))
def test_whatever_is_left_tells_all_that_has_changed_or_says_that_it_does_not(
    tmp_path: Path, seed: int
) -> None:
    """After each write to the file, with the next one torn, and after crashes of the host."""
    path = create(tmp_path / "disk.qcow2", MIB, cluster_size=4096)
    img("bitmap", "--add", "-g", "4096", path, "on")
    before, rng = bytes(MIB), random.Random(seed)
    recording = Recording(path)
    with recording.running():
        disk = opened(path)
        for _ in range(3):
            for _ in range(4):
                offset = rng.randrange(MIB // 512 - 30) * 512
                disk.write(offset, rng.randbytes(512) * rng.randrange(1, 30))
            disk.rest()
        disk.close()
    valid = 0
    for wreck in wrecks(recording, rng):
        path.write_bytes(wreck)
        with closing(open_disk(str(path), readonly=True, bitmaps=True)) as left:
            assert left.bitmaps is not None
            bitmap = left.bitmaps["on"]
            if bitmap.inconsistent:
                continue
            valid += 1
            shown, told = left.read(0, MIB), bytearray(before)
            for start, length in bitmap.runs():
                told[start : start + length] = shown[start : start + length]
            assert told == shown
    assert valid > 3
