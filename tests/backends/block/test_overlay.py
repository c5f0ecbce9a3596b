"""Overlays: what the guest writes is there for it, and nowhere else."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bimetal.backends.block.holes import Holes
from bimetal.backends.block.memory import MemoryDisk
from bimetal.backends.block.overlay import CLUSTER, Overlay
from bimetal.base.errors import BimetalError

SECTOR = 512

Cover = Callable[[MemoryDisk], Overlay]


@pytest.fixture
def cover() -> Iterator[Cover]:
    """Makes overlays and closes them."""
    made: list[Overlay] = []

    def make(base: MemoryDisk) -> Overlay:
        made.append(Overlay(base))
        return made[-1]

    yield make
    for disk in made:
        disk.close()


def test_the_base_is_never_written(cover: Cover) -> None:
    content = os.urandom(4 * CLUSTER)
    base = MemoryDisk(content)
    disk = cover(base)
    disk.write(CLUSTER - SECTOR, b"\1" * (2 * SECTOR))
    disk.write_zeroes(2 * CLUSTER, SECTOR)
    disk.discard(3 * CLUSTER, CLUSTER)
    disk.flush()
    assert disk.read(CLUSTER - SECTOR, 2 * SECTOR) == b"\1" * (2 * SECTOR)
    assert disk.read(CLUSTER + SECTOR, SECTOR) == content[CLUSTER + SECTOR : CLUSTER + 2 * SECTOR]
    assert disk.read(2 * CLUSTER, SECTOR) == bytes(SECTOR)
    assert disk.read(3 * CLUSTER, CLUSTER) == bytes(CLUSTER)
    assert base.content == content
    disk.close()


def test_a_base_that_is_read_only_and_ends_inside_a_cluster(cover: Cover) -> None:
    content = os.urandom(CLUSTER + 3 * SECTOR)
    disk = cover(MemoryDisk(content, readonly=True))
    assert not disk.readonly
    assert disk.size == len(content)
    disk.write(CLUSTER + 2 * SECTOR, b"\2" * SECTOR)
    assert disk.read(0, disk.size) == content[: CLUSTER + 2 * SECTOR] + b"\2" * SECTOR
    disk.write_zeroes(0, disk.size)
    assert disk.read(0, disk.size) == bytes(disk.size)


@pytest.mark.parametrize("seed", range(6))
def test_it_behaves_like_a_plain_disk(
    seed: int, cover: Cover, monkeypatch: pytest.MonkeyPatch
) -> None:
    if seed % 2:
        monkeypatch.setattr(Holes, "punch", lambda self, offset, length: False)
    rng = random.Random(seed)
    sectors = 5 * CLUSTER // SECTOR + 7
    content = rng.randbytes(sectors * SECTOR)
    disk, model = cover(MemoryDisk(content)), bytearray(content)
    for _ in range(300):
        first = rng.randrange(sectors)
        count = rng.randrange(min(sectors - first, rng.choice((2, 300))) + 1)
        offset, length = first * SECTOR, count * SECTOR
        match rng.choice(("read", "read", "write", "write", "zero")):
            case "read":
                assert disk.read(offset, length) == model[offset : offset + length]
            case "write":
                data = rng.randbytes(length)
                cut = rng.randrange(length + 1)
                disk.writev(offset, [memoryview(data)[:cut], memoryview(data)[cut:]])
                model[offset : offset + length] = data
            case "zero":
                disk.write_zeroes(offset, length, unmap=rng.random() < 0.5)
                model[offset : offset + length] = bytes(length)
    assert disk.read(0, disk.size) == model


def test_only_what_is_written_takes_space(cover: Cover) -> None:
    disk = cover(MemoryDisk(64 << 20))
    disk.write(32 << 20, b"\1" * SECTOR)
    assert os.fstat(disk._fd).st_blocks * 512 <= 4 * CLUSTER


def test_a_failed_write_leaves_the_old_bytes_readable(
    cover: Cover, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(2 * CLUSTER)
    disk = cover(MemoryDisk(content))

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", full)
        with pytest.raises(OSError, match="No space left"):
            disk.write(SECTOR, b"\1" * SECTOR)
        with pytest.raises(OSError, match="No space left"):
            disk.write(0, b"\1" * CLUSTER)
    assert disk.read(0, disk.size) == content


def test_no_place_for_the_layer_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(BimetalError, match="no temporary file") as caught:
        Overlay(MemoryDisk(SECTOR))
    assert "TMPDIR" in caught.value.remedy


class Endless(MemoryDisk):
    """A disk that is larger than any host."""

    def __init__(self) -> None:
        super().__init__(SECTOR)
        self.size = 7 << 60


def test_a_disk_too_large_for_a_layer_is_an_error() -> None:
    with pytest.raises(BimetalError, match="7340032 TiB for a snapshot: it is too large") as caught:
        Overlay(Endless())
    assert "qemu-img create" in caught.value.remedy


def test_the_layer_is_known_by_its_place(cover: Cover, tmp_path: Path) -> None:
    """When it has no more room, that is where to look."""
    assert cover(MemoryDisk(SECTOR)).name == f"memory (snapshot in {tempfile.gettempdir()})"
