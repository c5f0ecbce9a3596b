"""Writes one behind the other that hide other bytes: few flushes, little space, no new errors."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.qcow2.streams import Streams
from tests.backends.block.qcow2.qemu import CLEAN, MIB, check, content, create, img, needs_qemu

pytestmark = needs_qemu

CLUSTER = 4096


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.raw"
    path.write_bytes(random.Random(9).randbytes(MIB))
    return path


def over(base: Path, format: str = "raw") -> Path:
    path = base.with_name("disk.qcow2")
    return create(path, MIB, cluster_size=CLUSTER, backing_file=base.name, backing_fmt=format)


def own(path: Path) -> int:
    """How many bytes of the disk are in the image itself."""
    extents = json.loads(img("map", "--output=json", path))
    return sum(extent["length"] for extent in extents if extent["depth"] == 0)


def test_a_row_of_writes_takes_few_flushes(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, flushes = over(base), 0
    fdatasync = os.fdatasync

    def counted(fd: int) -> None:
        nonlocal flushes
        flushes += 1
        fdatasync(fd)

    monkeypatch.setattr(os, "fdatasync", counted)
    disk = open_disk(str(path))
    for start in range(0, MIB, CLUSTER):
        disk.write(start, b"\1" * CLUSTER)
    disk.close()
    assert flushes < 30
    assert check(path) == CLEAN
    assert content(path) == b"\1" * MIB


@pytest.mark.parametrize("size", [512, CLUSTER, 5 * CLUSTER])
def test_no_more_is_copied_than_was_written(base: Path, size: int) -> None:
    path, model = over(base), bytearray(base.read_bytes())
    disk = open_disk(str(path))
    written = 0
    for start in range(0, MIB // 2, 32 * CLUSTER):
        for at in range(start, start + 10 * CLUSTER, size):
            disk.write(at, b"\2" * size)
            model[at : at + size] = b"\2" * size
        written += 10 * CLUSTER
    disk.close()
    assert own(path) <= 2 * written
    assert check(path) == CLEAN
    assert content(path) == model


def test_a_row_up_to_what_cannot_be_read(base: Path) -> None:
    """What is copied for speed alone must not make an error of a write that needs it not."""
    below = base.with_name("below.qcow2")
    img("convert", "-O", "qcow2", "-o", f"cluster_size={CLUSTER}", base, below)
    entries = bytearray(below.read_bytes())
    table = int.from_bytes(entries[40:48], "big")
    table = int.from_bytes(entries[table : table + 8], "big") & (1 << 56) - 1
    entries[table + 7 * 8 : table + 8 * 8] = (1 << 40 | 1 << 63).to_bytes(8, "big")
    below.write_bytes(entries)
    path = over(below, "qcow2")
    disk = open_disk(str(path))
    for start in range(0, 12 * CLUSTER, CLUSTER):
        disk.write(start, b"\3" * CLUSTER)
    assert disk.read(0, 12 * CLUSTER) == b"\3" * (12 * CLUSTER)
    disk.close()
    assert check(path) == CLEAN


def test_rows_that_take_turns() -> None:
    streams = Streams(most=16)
    for step in range(20):
        for start in (0, 1000, 2000):
            assert streams.ahead(start + step) == min(step, 16)
            streams.hidden(range(start + step, start + step + 1))
    assert streams.ahead(500) == 0


def test_rows_are_forgotten() -> None:
    streams = Streams(most=16)
    for start in range(0, 100, 10):
        streams.hidden(range(start, start + 1))
    assert streams.ahead(1) == 0
    assert streams.ahead(91) == 1
