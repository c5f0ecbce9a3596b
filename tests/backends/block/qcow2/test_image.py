"""What a disk in a qcow2 image shows and keeps, as qemu-img sees it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.qcow2.image import Qcow2Image
from tests.backends.block.qcow2.qemu import (
    CLEAN,
    SECTOR,
    SIZE,
    check,
    content,
    create,
    img,
    needs_qemu,
    play,
    with_snapshots,
)

pytestmark = needs_qemu


def test_reading(image: Path, source: Path) -> None:
    disk = open_disk(str(image), readonly=True)
    assert disk.size == SIZE
    assert disk.read(0, SIZE) == source.read_bytes()
    rng = random.Random(2)
    for _ in range(50):
        first = rng.randrange(SIZE // SECTOR)
        length = min(rng.randrange(1, 300) * SECTOR, SIZE - first * SECTOR)
        start = first * SECTOR
        assert disk.read(start, length) == source.read_bytes()[start : start + length]
    before = image.read_bytes()
    disk.close()
    disk.close()
    assert image.read_bytes() == before


def test_writing(image: Path, source: Path) -> None:
    model, rng = bytearray(source.read_bytes()), random.Random(3)
    for _ in range(2):
        disk = open_disk(str(image))
        play(disk, model, rng, 60)
        disk.close()
        assert check(image) == CLEAN
        assert content(image) == model


def test_a_snapshot_in_the_image_keeps_its_bytes(tmp_path: Path, source: Path) -> None:
    path = with_snapshots(source, tmp_path / "disk.qcow2")
    model = bytearray(source.read_bytes())
    disk = open_disk(str(path))
    play(disk, model, random.Random(5), 60)
    disk.close()
    assert check(path) == CLEAN
    assert content(path) == model
    img("snapshot", "-a", "first", path)
    assert content(path) == source.read_bytes()
    img("snapshot", "-d", "first", path)
    assert check(path) == CLEAN


def test_a_temporary_layer_leaves_the_image_alone(image: Path, source: Path) -> None:
    before = image.read_bytes()
    disk = open_disk(str(image), snapshot=True)
    play(disk, bytearray(source.read_bytes()), random.Random(6), 40)
    disk.close()
    assert image.read_bytes() == before


def test_a_backing_file_that_is_shorter(tmp_path: Path) -> None:
    base = tmp_path / "base.raw"
    base.write_bytes(b"\1" * (100 * SECTOR))
    path = create(tmp_path / "disk.qcow2", backing_file="base.raw", backing_fmt="raw")
    disk = open_disk(str(path))
    assert disk.read(99 * SECTOR, 2 * SECTOR) == b"\1" * SECTOR + bytes(SECTOR)
    disk.write(100 * SECTOR, b"\2" * SECTOR)
    disk.close()
    assert base.read_bytes() == b"\1" * (100 * SECTOR)
    expected = b"\1" * (100 * SECTOR) + b"\2" * SECTOR
    assert content(path) == expected.ljust(SIZE, b"\0")


def test_writes_that_belong_together(image: Path, source: Path) -> None:
    model, rng = bytearray(source.read_bytes()), random.Random(8)
    disk = open_disk(str(image))
    assert isinstance(disk, Qcow2Image)
    for _ in range(10):
        disk.hold()
        for _ in range(20):
            offset = rng.randrange(SIZE // SECTOR - 8) * SECTOR
            data = rng.randbytes(rng.randrange(1, 8) * SECTOR)
            disk.write(offset, data)
            model[offset : offset + len(data)] = data
            assert disk.read(offset, len(data)) == data
        disk.write_zeroes(offset & -65536, 65536, unmap=True)
        model[offset & -65536 : (offset & -65536) + 65536] = bytes(65536)
        disk.write(offset, data)
        model[offset : offset + len(data)] = data
        assert disk.read(0, SIZE) == model
        disk.settle()
    disk.close()
    assert check(image) == CLEAN
    assert content(image) == model


def test_writes_that_cannot_be_made_safe_together_are_not_done(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = with_snapshots(source, tmp_path / "disk.qcow2")
    disk = open_disk(str(path))
    assert isinstance(disk, Qcow2Image)

    def no_flush(fd: int) -> None:
        raise OSError(5, "Input/output error")

    disk.hold()
    disk.write(0, b"\1" * SECTOR)
    disk.write(512 * SECTOR, b"\2" * SECTOR)
    with monkeypatch.context() as patch:
        patch.setattr("os.fdatasync", no_flush)
        with pytest.raises(OSError, match="Input/output error"):
            disk.settle()
    assert disk.read(0, SIZE) == source.read_bytes()
    disk.close()
    assert content(path) == source.read_bytes()
