"""Images that contradict themselves: they can be read, and are not written, and it is said why."""

from __future__ import annotations

import errno
import logging
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bimetal.backends.block.block import Block
from bimetal.backends.block.choose import open_disk
from bimetal.base.errors import BimetalError
from tests.backends.block.qcow2.qemu import KIB, SIZE, content, img, needs_qemu

pytestmark = needs_qemu

CLUSTER = 4096
COPIED = 1 << 63
OFFSET = 0x00FF_FFFF_FFFF_FE00
FEATURES_AT, CORRUPT = 72, 2


class Image:
    """The bytes of the image at ``path``, to be damaged."""

    def __init__(self, path: Path):
        self.path, self.data = path, bytearray(path.read_bytes())
        self.l1, self.references, self.snapshots = self.word(40), self.word(48), self.word(64)
        self.block = self.word(self.references)
        self.l2 = self.word(self.l1) & OFFSET
        self.l2_too = self.word(self.l1 + 8) & OFFSET
        self.first = self.word(self.l2) & OFFSET
        self.l1_of_snapshot = self.word(self.snapshots)

    def word(self, at: int) -> int:
        return int.from_bytes(self.data[at : at + 8], "big")

    def set(self, at: int, value: int) -> None:
        """Change a word."""
        self.data[at : at + 8] = value.to_bytes(8, "big")

    def count(self, offset: int, value: int) -> None:
        """Change the reference count of the cluster at ``offset``."""
        struct.pack_into(">H", self.data, self.block + 2 * (offset // CLUSTER), value)

    def zero(self, offset: int) -> None:
        """Lose a cluster."""
        self.data[offset : offset + CLUSTER] = bytes(CLUSTER)


def shared(image: Image, offset: int) -> None:
    """The disk shows what lies at ``offset``, and that is counted."""
    image.set(image.l2, offset)
    image.count(offset, 2)


def counted_twice(image: Image) -> None:
    """Two clusters of the disk are one, and that is counted, but both call it their own."""
    image.set(image.l2 + 64, image.first | COPIED)
    image.count(image.first, 2)


DAMAGES: dict[str, Callable[[Image], None]] = {
    "no reference block": lambda i: i.set(i.references, 0),
    "all counts zero": lambda i: i.zero(i.block),
    "the header is counted as free": lambda i: i.count(0, 0),
    "L1 is counted as free": lambda i: i.count(i.l1, 0),
    "L2 is counted as free": lambda i: i.count(i.l2, 0),
    "the reference table is counted as free": lambda i: i.count(i.references, 0),
    "the reference block is counted as free": lambda i: i.count(i.block, 0),
    "a cluster of the disk is counted as free": lambda i: i.count(i.first, 0),
    "the snapshots are counted as free": lambda i: i.count(i.snapshots, 0),
    "L1 of a snapshot is counted as free": lambda i: i.count(i.l1_of_snapshot, 0),
    "a shared L2 is counted once": lambda i: i.count(i.l2_too, 1),
    "the reference block is L1": lambda i: i.set(i.references, i.l1),
    "the reference block is L2": lambda i: i.set(i.references, i.l2),
    "the reference block is the table itself": lambda i: i.set(i.references, i.references),
    "the reference block is a cluster of the disk": lambda i: i.set(i.references, i.first),
    "the reference block is nowhere": lambda i: i.set(i.references, 1 << 50),
    "the reference block lies between clusters": lambda i: i.set(i.references, i.block + 512),
    "the entry of the reference block has other bits": lambda i: i.set(i.references, i.block | 1),
    "two reference blocks are one": lambda i: i.set(i.references + 8, i.block),
    "the disk shows L1": lambda i: i.set(i.l2, i.l1 | COPIED),
    "the disk shows L2": lambda i: i.set(i.l2, i.l2 | COPIED),
    "the disk shows the reference table": lambda i: i.set(i.l2, i.references | COPIED),
    "the disk shows the reference block": lambda i: i.set(i.l2, i.block | COPIED),
    "the disk shows the snapshots": lambda i: i.set(i.l2, i.snapshots | COPIED),
    "the disk shows L1 of a snapshot": lambda i: i.set(i.l2, i.l1_of_snapshot | COPIED),
    "the disk shows what is behind the end": lambda i: i.set(i.l2, 1 << 40 | COPIED),
    "the disk shows what lies between clusters": lambda i: i.set(i.l2, i.first + 512 | COPIED),
    "an entry of the disk has other bits": lambda i: i.set(i.l2, i.first | COPIED | 1 << 60),
    "compressed bytes are behind the end": lambda i: i.set(i.l2, 1 << 62 | 1 << 40),
    "the disk shows L1, and that is counted": lambda i: shared(i, i.l1),
    "the disk shows L2, and that is counted": lambda i: shared(i, i.l2),
    "two clusters of the disk are one": lambda i: i.set(i.l2 + 64, i.first | COPIED),
    "two clusters of the disk are one, and counted": counted_twice,
    "L2 is L1": lambda i: i.set(i.l1, i.l1 | COPIED),
    "L2 is the reference block": lambda i: i.set(i.l1, i.block | COPIED),
    "L2 is a cluster of the disk": lambda i: i.set(i.l1, i.first | COPIED),
    "L2 is behind the end": lambda i: i.set(i.l1, 1 << 40 | COPIED),
    "L2 lies between clusters": lambda i: i.set(i.l1, i.l2 + 512 | COPIED),
    "two L2 tables are one": lambda i: i.set(i.l1 + 8, i.l2 | COPIED),
    "L2 of a snapshot is taken for ours": lambda i: i.set(i.l1 + 8, i.l2_too | COPIED),
    "an entry of L1 has other bits": lambda i: i.set(i.l1, i.l2 | COPIED | 1),
    "the snapshots are L1": lambda i: i.set(64, i.l1),
    "the snapshots are behind the end": lambda i: i.set(64, 1 << 40),
    "L1 of a snapshot is ours": lambda i: i.set(i.snapshots, i.l1),
    "L1 of a snapshot is endless": lambda i: i.set(i.snapshots + 8, (1 << 64) - 1),
}


CHANGES: list[Callable[[Block], None]] = [
    lambda disk: disk.write(0, b"\xaa" * 512),
    lambda disk: disk.write(SIZE - 512, b"\xaa" * 512),
    lambda disk: disk.discard(0, 64 * KIB),
    lambda disk: disk.write_zeroes(0, 64 * KIB),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An image with a snapshot, since which the first of two L2 tables has changed, its first
    eight clusters anew."""
    source, path = tmp_path / "source.raw", tmp_path / "disk.qcow2"
    source.write_bytes(bytes(range(1, 256)) * (SIZE // 255 + 1))
    source.write_bytes(source.read_bytes()[:SIZE])
    options = f"cluster_size={CLUSTER}"
    img("convert", "-f", "raw", "-O", "qcow2", "-o", options, source, path)
    img("snapshot", "-c", "first", path)
    writing = ["qemu-io", "-f", "qcow2", "-c", "write -P 7 0 32k", str(path)]
    subprocess.run(writing, check=True, capture_output=True)
    return path


def test_the_image_that_is_damaged_is_sound(path: Path) -> None:
    disk = open_disk(str(path))
    disk.write(64 * KIB, b"\1" * 512)
    disk.close()
    assert content(path)[: 64 * KIB + 512].endswith(b"\1" * 512)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_image_is_read_and_not_written(
    path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    image = Image(path)
    DAMAGES[damage](image)
    path.write_bytes(image.data)
    disk = open_disk(str(path), readonly=True)
    shown = [seen(disk, offset) for offset in range(0, SIZE - CLUSTER, CLUSTER)]
    disk.close()
    with caplog.at_level(logging.WARNING):
        disk = open_disk(str(path))
    assert "the image can only be read" in caplog.text
    assert f"qemu-img check -r all {path}" in caplog.text
    for change in CHANGES:
        with pytest.raises(OSError, match="damaged") as caught:
            change(disk)
        assert caught.value.errno == errno.EIO
    assert [seen(disk, offset) for offset in range(0, SIZE - CLUSTER, CLUSTER)] == shown
    disk.flush()
    disk.close()
    image.set(FEATURES_AT, CORRUPT)
    assert path.read_bytes() == image.data, "nothing but the mark has changed"
    with pytest.raises(BimetalError, match="is damaged") as refused:
        open_disk(str(path))
    assert f"qemu-img check -r all {path}" in refused.value.remedy
    open_disk(str(path), readonly=True).close()


def seen(disk: Block, offset: int) -> bytes | None:
    """The cluster at ``offset``, or None if it cannot be read."""
    try:
        return disk.read(offset, CLUSTER)
    except OSError:
        return None


def test_damage_that_nobody_writes_to_is_not_marked(path: Path) -> None:
    image = Image(path)
    image.count(0, 0)
    path.write_bytes(image.data)
    open_disk(str(path)).close()
    assert path.read_bytes() == image.data


def test_what_qemu_has_repaired_is_written_again(path: Path) -> None:
    image = Image(path)
    image.zero(image.block)
    path.write_bytes(image.data)
    disk = open_disk(str(path))
    with pytest.raises(OSError, match="damaged"):
        disk.write(0, b"\1" * 512)
    disk.close()
    before = content(path)
    img("check", "-q", "-r", "all", path)
    disk = open_disk(str(path))
    disk.write(0, b"\1" * 512)
    disk.close()
    assert content(path) == b"\1" * 512 + before[512:]


def test_a_version_without_a_place_for_the_mark(path: Path) -> None:
    img("amend", "-o", "compat=0.10", path)
    image = Image(path)
    image.count(0, 0)
    path.write_bytes(image.data)
    disk = open_disk(str(path))
    with pytest.raises(OSError, match="damaged"):
        disk.write(0, b"\1" * 512)
    disk.close()
    assert path.read_bytes() == image.data
