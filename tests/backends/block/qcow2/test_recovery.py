"""What is done before an image is written: leaks are mended, others are told."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import bimetal
from bimetal.backends.block.choose import open_disk
from bimetal.base.errors import BimetalError
from tests.backends.block.qcow2.qemu import (
    CLEAN,
    KIB,
    LEAKS,
    MIB,
    SECTOR,
    SIZE,
    check,
    content,
    create,
    img,
    needs_qemu,
    noise,
    plain,
    with_snapshots,
)

pytestmark = needs_qemu

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(bimetal.__file__).parents[1])}

FEATURES_AT, AUTOCLEAR_AT, END_OF_HEADER = 72, 88, 112
DIRTY, CORRUPT = 1, 2


def set_word(path: Path, at: int, value: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(struct.pack(">Q", value))


def word(path: Path, at: int) -> int:
    return int.from_bytes(path.read_bytes()[at : at + 8], "big")


def leave_leaks(path: Path) -> None:
    """Use the image from a process that is killed."""
    program = f"""
import os, signal
from bimetal.backends.block.choose import open_disk
disk = open_disk({str(path)!r})
disk.write(0, b"x" * {MIB})
disk.discard(0, {MIB // 2})
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT, check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    "options", [{"compat": "0.10"}, *({"refcount_bits": 1 << order} for order in range(7))]
)
def test_leaks_of_a_killed_process_are_mended(tmp_path: Path, options: dict[str, Any]) -> None:
    path = create(tmp_path / "disk.qcow2", **options)
    leave_leaks(path)
    assert check(path) == LEAKS
    length = path.stat().st_size
    open_disk(str(path)).close()
    assert check(path) == CLEAN
    assert path.stat().st_size < length
    assert content(path) == bytes(MIB // 2) + b"x" * (MIB // 2) + bytes(SIZE - MIB)


def test_killed_again_and_again_the_file_does_not_grow(tmp_path: Path) -> None:
    path = create(tmp_path / "disk.qcow2")
    leave_leaks(path)
    length = path.stat().st_size
    for _ in range(5):
        leave_leaks(path)
    assert path.stat().st_size <= length + MIB


def test_mending_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = create(tmp_path / "disk.qcow2")
    leave_leaks(path)
    with caplog.at_level(logging.INFO):
        open_disk(str(path)).close()
    assert "clusters that nobody uses" in caplog.text


def test_what_is_only_read_is_not_mended(tmp_path: Path) -> None:
    path = create(tmp_path / "disk.qcow2")
    leave_leaks(path)
    before = path.read_bytes()
    open_disk(str(path), readonly=True).close()
    open_disk(str(path), snapshot=True).close()
    assert path.read_bytes() == before


def test_what_others_may_use_is_not_freed(tmp_path: Path) -> None:
    path = create(tmp_path / "disk.qcow2")
    leave_leaks(path)
    at = path.read_bytes().index(struct.pack(">I", 0x6803F857), END_OF_HEADER - 8)
    with path.open("r+b") as file:
        file.seek(at)
        file.write(struct.pack(">I", 0x12345678))
    open_disk(str(path)).close()
    assert check(path) == LEAKS


# Counts that are out of date by design


@pytest.mark.parametrize("clusters", [512, 65536])
def test_an_image_whose_counts_are_out_of_date_is_counted_anew(
    tmp_path: Path, clusters: int
) -> None:
    """QEMU was killed with lazy reference counts."""
    path = create(tmp_path / "disk.qcow2", lazy_refcounts="on", cluster_size=clusters)
    writing = ["-c", "write -P 1 0 1M", "-c", "write -P 2 2M 512", "-c", "sigraise 9"]
    subprocess.run(["qemu-io", "-f", "qcow2", *writing, path], check=False, capture_output=True)
    assert word(path, FEATURES_AT) == DIRTY
    shown = open_disk(str(path), readonly=True)
    before = shown.read(0, SIZE)
    shown.close()
    disk = open_disk(str(path))
    assert disk.read(0, SIZE) == before
    disk.write(3 * MIB, b"\3" * SECTOR)
    disk.close()
    assert word(path, FEATURES_AT) == 0
    assert check(path) == CLEAN
    assert content(path) == before[: 3 * MIB] + b"\3" * SECTOR + before[3 * MIB + SECTOR :]


def test_counts_that_are_lost_and_out_of_date_are_made_anew(tmp_path: Path, source: Path) -> None:
    path = plain(source, tmp_path / "disk.qcow2")
    set_word(path, FEATURES_AT, DIRTY)
    set_word(path, word(path, 48), 0)
    disk = open_disk(str(path))
    disk.write(0, b"\1" * SECTOR)
    disk.close()
    assert check(path) == CLEAN
    assert content(path) == b"\1" * SECTOR + source.read_bytes()[SECTOR:]


def test_an_image_that_is_marked_as_damaged_is_for_reading_only(tmp_path: Path) -> None:
    path = create(tmp_path / "disk.qcow2")
    set_word(path, FEATURES_AT, CORRUPT)
    open_disk(str(path), readonly=True).close()
    with pytest.raises(BimetalError, match="is damaged") as caught:
        open_disk(str(path))
    assert f"qemu-img check -r all {path}" in caught.value.remedy
    img("check", "-q", "-r", "all", path)
    open_disk(str(path)).close()


# What other programs keep


def flags_of_bitmaps(path: Path) -> dict[str, list[str]]:
    """What qemu-img says of each bitmap."""
    told = json.loads(img("info", "--output=json", path))
    bitmaps = told["format-specific"]["data"].get("bitmaps", [])
    return {bitmap["name"]: bitmap["flags"] for bitmap in bitmaps}


def test_bitmaps_are_named_once_and_not_to_be_believed_any_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = create(tmp_path / "disk.qcow2")
    for name in ("monday", "tuesday"):
        img("bitmap", "--add", path, name)
    img("bitmap", "--add", "--disable", path, "last year")
    open_disk(str(path), readonly=True).close()
    open_disk(str(path), snapshot=True).close()
    assert "bitmap" not in caplog.text
    with caplog.at_level(logging.WARNING):
        disk = open_disk(str(path))
    assert "'monday', 'tuesday'" in caplog.text
    assert str(path) in caplog.text
    caplog.clear()
    disk.write(0, noise(random.Random(1), 100 * KIB))
    disk.close()
    assert flags_of_bitmaps(path) == {
        "monday": ["in-use", "auto"],
        "tuesday": ["in-use", "auto"],
        "last year": [],
    }
    open_disk(str(path)).close()
    assert "bitmap" not in caplog.text
    assert check(path) == CLEAN


def test_bitmaps_with_content_are_not_written_over(tmp_path: Path, source: Path) -> None:
    path = with_snapshots(source, tmp_path / "disk.qcow2")
    img("bitmap", "--add", path, "changes")
    writing = ["qemu-io", "-f", "qcow2", "-c", "write -P 5 0 1M", str(path)]
    subprocess.run(writing, check=True, capture_output=True)
    disk = open_disk(str(path))
    disk.write(MIB, b"\6" * MIB)
    disk.close()
    assert check(path) == CLEAN
    assert flags_of_bitmaps(path) == {"changes": ["in-use", "auto"]}
    assert content(path) == b"\5" * MIB + b"\6" * MIB + source.read_bytes()[2 * MIB :]


def test_bitmaps_that_make_no_sense_are_damage(tmp_path: Path) -> None:
    path = create(tmp_path / "disk.qcow2")
    img("bitmap", "--add", path, "changes")
    at = path.read_bytes().index(struct.pack(">II", 0x23852875, 24))
    set_word(path, at + 24, 1 << 40)
    disk = open_disk(str(path))
    with pytest.raises(OSError, match="damaged"):
        disk.write(0, bytes(SECTOR))
    disk.close()


def test_other_features_that_a_writer_must_clear_are_cleared(tmp_path: Path) -> None:
    path = create(tmp_path / "disk.qcow2")
    set_word(path, AUTOCLEAR_AT, 1 << 40)
    open_disk(str(path), readonly=True).close()
    assert word(path, AUTOCLEAR_AT) == 1 << 40
    open_disk(str(path)).close()
    assert word(path, AUTOCLEAR_AT) == 0


def test_where_no_bitmaps_are_there_is_nothing_to_say(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = create(tmp_path / "disk.qcow2")
    set_word(path, AUTOCLEAR_AT, 1)
    open_disk(str(path)).close()
    assert "bitmap" not in caplog.text
    assert word(path, AUTOCLEAR_AT) == 0
