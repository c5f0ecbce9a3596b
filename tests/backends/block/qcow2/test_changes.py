"""Snapshots, sizes and backing files of images, judged by qemu-img."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

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
from bimetal.base.errors import BimetalError
from tests.backends.block.qcow2.qemu import (
    CLEAN,
    KIB,
    KINDS,
    MIB,
    SECTOR,
    SIZE,
    check,
    content,
    create,
    img,
    needs_qemu,
    noise,
    play,
)

pytestmark = needs_qemu

NOW = 1_800_000_000_123_456_789

QUICK = ("with_snapshots", "subclusters_over_raw", "version_2_over_raw", "raw_data_outside")
"""The kinds of images of the normal run; ``-m slow`` has all others."""

NO_SNAPSHOTS = ("data_outside", "raw_data_outside", "narrow_counts")


def kinds(without: tuple[str, ...] = ()) -> list[Any]:
    return [
        kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow)
        for kind in KINDS
        if kind not in without
    ]


@contextmanager
def opened(path: Path) -> Iterator[Qcow2Image]:
    with closing(open_disk(str(path))) as disk:
        assert isinstance(disk, Qcow2Image)
        yield disk


def names(path: Path) -> list[tuple[str, str]]:
    told = json.loads(img("info", "--output=json", path))
    return [(snapshot["id"], snapshot["name"]) for snapshot in told.get("snapshots", [])]


@pytest.mark.parametrize("kind", kinds(NO_SNAPSHOTS))
def test_snapshots(tmp_path: Path, source: Path, kind: str) -> None:
    path = KINDS[kind](source, tmp_path / "disk.qcow2")
    before = len(names(path))
    rng, contents = random.Random(3), {}
    with opened(path) as disk:
        model = bytearray(disk.read(0, SIZE))
        for number in range(3):
            play(disk, model, rng, 12)
            create_snapshot(disk, f"shot {number}", NOW)
            contents[f"shot {number}"] = bytes(model)
        play(disk, model, rng, 12)
        assert disk.read(0, SIZE) == model
    assert check(path) == CLEAN
    assert [name for _, name in names(path)][before:] == list(contents)
    with opened(path) as disk:
        for name in ("shot 1", "shot 0", "shot 2"):
            apply_snapshot(disk, name)
            assert disk.read(0, SIZE) == contents[name]
            play(disk, bytearray(contents[name]), rng, 6)
        delete_snapshot(disk, "shot 1")
        apply_snapshot(disk, "shot 2")
    assert check(path) == CLEAN
    assert content(path) == contents["shot 2"]
    img("snapshot", "-a", "shot 0", path)
    assert content(path) == contents["shot 0"]
    identities = [identity for identity, _ in names(path)]
    with opened(path) as disk:
        for identity in identities:
            delete_snapshot(disk, identity)
        assert disk.read(0, SIZE) == contents["shot 0"]
    assert check(path) == CLEAN
    assert content(path) == contents["shot 0"]


def test_what_cannot_be_a_snapshot(tmp_path: Path) -> None:
    narrow = create(tmp_path / "narrow.qcow2", refcount_bits=1)
    outside = create(tmp_path / "outside.qcow2", data_file=tmp_path / "data")
    with opened(narrow) as disk:
        disk.write(0, b"\1" * SECTOR)
        with pytest.raises(BimetalError, match="counts with 1 bits"):
            create_snapshot(disk, "one", NOW)
        with pytest.raises(BimetalError, match="name of a snapshot"):
            create_snapshot(disk, "", NOW)
        with pytest.raises(BimetalError, match="has no snapshot 'one'"):
            apply_snapshot(disk, "one")
        disk.write(64 * KIB, b"\2" * SECTOR)
    assert check(narrow) == CLEAN
    with opened(outside) as disk, pytest.raises(BimetalError, match="a file of its own"):
        create_snapshot(disk, "one", NOW)


@pytest.mark.parametrize("kind", kinds())
def test_other_sizes(tmp_path: Path, source: Path, kind: str) -> None:
    path = KINDS[kind](source, tmp_path / "disk.qcow2")
    model, rng = bytearray(source.read_bytes()), random.Random(5)
    snapshots = bool(names(path))
    with opened(path) as disk:
        for size in (SIZE + 7 * SECTOR, 5 * MIB, MIB + SECTOR, 64 * KIB, 3 * MIB, 40 * MIB):
            play(disk, model, rng, 5)
            if size < len(model):
                shrink(disk, size)
                del model[size:]
            else:
                grow(disk, size)
                model.extend(bytes(size - len(model)))
            assert disk.size == size
            assert disk.read(0, size) == model
        play(disk, model, rng, 5)
    assert check(path) == CLEAN
    assert content(path) == model
    assert bool(names(path)) == snapshots


def test_what_a_longer_backing_file_has_is_not_seen_by_a_disk_that_grows(tmp_path: Path) -> None:
    base = tmp_path / "base.raw"
    base.write_bytes(b"\7" * MIB)
    for compat in ("0.10", "1.1"):
        top = create(
            tmp_path / f"{compat}.qcow2",
            65 * SECTOR,
            backing_file=base,
            backing_fmt="raw",
            compat=compat,
        )
        with opened(top) as disk:
            grow(disk, 2 * MIB)
            assert disk.read(0, 2 * MIB) == (b"\7" * 65 * SECTOR).ljust(2 * MIB, b"\0")
        assert check(top) == CLEAN
        assert content(top) == (b"\7" * 65 * SECTOR).ljust(2 * MIB, b"\0")


def test_limits_of_sizes(tmp_path: Path) -> None:
    path = create(tmp_path / "disk.qcow2", MIB, cluster_size=512)
    with opened(path) as disk, pytest.raises(BimetalError, match="too small for a disk"):
        grow(disk, 1 << 40)
    old = create(tmp_path / "old.qcow2", MIB, compat="0.10")
    img("snapshot", "-c", "one", old)
    with opened(old) as disk, pytest.raises(BimetalError, match="version 2"):
        shrink(disk, 64 * KIB)


def test_other_backing_files(tmp_path: Path) -> None:
    for name, byte in (("a", b"\1"), ("b" * 100, b"\2"), ("c" * 200, b"\3")):
        (tmp_path / name).write_bytes(byte * MIB)
    path = create(tmp_path / "top.qcow2", MIB, backing_file="a", backing_fmt="raw")
    for name, byte in (("b" * 100, b"\2"), ("c" * 200, b"\3"), ("a", b"\1")):
        with opened(path) as disk:
            lay_on(disk, name, "raw")
        told = json.loads(img("info", "--output=json", path))
        assert (told["backing-filename"], told["backing-filename-format"]) == (name, "raw")
        assert content(path) == byte * MIB
    with opened(path) as disk:
        lay_on(disk, None, None)
    assert "backing-filename" not in json.loads(img("info", "--output=json", path))
    assert content(path) == bytes(MIB)
    with opened(path) as disk, pytest.raises(BimetalError, match="longer than it has room for"):
        lay_on(disk, "x" * 1100, "raw")


def test_an_image_that_is_emptied_shows_what_it_lies_on(tmp_path: Path) -> None:
    base = tmp_path / "base.raw"
    base.write_bytes(noise(random.Random(1), MIB))
    path = create(tmp_path / "top.qcow2", MIB, backing_file=base, backing_fmt="raw")
    with opened(path) as disk:
        disk.write(0, bytes(range(256)) * 2 * KIB)
        empty(disk)
        assert disk.read(0, MIB) == base.read_bytes()
    assert check(path) == CLEAN
    assert path.stat().st_blocks * SECTOR < MIB // 2


def test_bitmaps_of_another_size_do_not_keep_others_from_opening_an_image(tmp_path: Path) -> None:
    path = create(tmp_path / "disk.qcow2", 64 * MIB)
    img("bitmap", "--add", "--disable", "-g", "512", path, "old")
    with opened(path) as disk:
        grow(disk, 900 * MIB)
    told = json.loads(img("info", "--output=json", path))
    (bitmap,) = told["format-specific"]["data"]["bitmaps"]
    assert (bitmap["name"], bitmap["flags"]) == ("old", ["in-use"])
    with opened(path) as disk:
        shrink(disk, MIB)
    assert check(path) == CLEAN
    img("bitmap", "--remove", path, "old")


def test_what_only_others_know_of_is_not_lost(tmp_path: Path) -> None:
    path = create(tmp_path / "disk.qcow2", MIB)
    image = bytearray(path.read_bytes())
    image[112:120] = struct.pack(">II", 0x12345678, 384)
    path.write_bytes(image)
    with opened(path) as disk, pytest.raises(BimetalError, match="only other programs know"):
        create_snapshot(disk, "one", NOW)
    assert path.read_bytes()[112:120] == image[112:120]


@pytest.mark.parametrize("width", [1, 64])
def test_the_smallest_clusters_with_any_counts_hold_a_whole_disk(
    tmp_path: Path, width: int
) -> None:
    path = create(tmp_path / "disk.qcow2", 160 * MIB, cluster_size=512, refcount_bits=width)
    with opened(path) as disk:
        piece = bytes(range(256)) * 4 * KIB
        for at in range(0, disk.size, len(piece)):
            disk.write(at, piece)
        assert disk.read(disk.size - KIB, KIB) == piece[:KIB]
    assert check(path) == CLEAN
