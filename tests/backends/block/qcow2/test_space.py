"""Space: taken when it is needed, bounded by the disk's size, given back, also after failures."""

from __future__ import annotations

import errno
import os
import random
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from bimetal.backends.block.block import Block
from bimetal.backends.block.choose import open_disk
from tests.backends.block.qcow2.qemu import (
    CLEAN,
    MIB,
    SECTOR,
    SIZE,
    check,
    compressed,
    content,
    create,
    needs_qemu,
    with_snapshots,
)

pytestmark = needs_qemu

DISK = 16 * MIB
MARGIN = 20 * MIB
"""What an image may take beside the disk's bytes: clusters taken in advance, clusters that wait
for a flush, tables."""


def taken(path: Path) -> int:
    """Bytes that the host gives for the file."""
    return path.stat().st_blocks * 512


def rewrite(disk: Block) -> None:
    disk.write(0, b"\1" * DISK)
    disk.discard(0, DISK)


def rewrite_by_zeroes(disk: Block) -> None:
    for start in range(0, DISK, MIB):
        disk.write(start, b"\2" * MIB)
        disk.write_zeroes(start, MIB, unmap=True)


def rewrite_in_pieces(disk: Block) -> None:
    piece = 128 << 10
    for start in range(0, DISK, piece):
        disk.write(start, b"\3" * piece)
    for start in range(0, DISK, piece):
        disk.discard(start, piece)


@pytest.mark.parametrize("use", [rewrite, rewrite_by_zeroes, rewrite_in_pieces])
@pytest.mark.parametrize("cluster", [4096, 65536, 2 * MIB])
def test_a_guest_that_never_flushes_takes_no_more_than_its_disk(
    tmp_path: Path, use: Callable[[Block], None], cluster: int
) -> None:
    path = create(tmp_path / "disk.qcow2", DISK, cluster_size=cluster)
    disk = open_disk(str(path))
    for _ in range(8):
        use(disk)
        assert taken(path) < DISK + MARGIN
        assert path.stat().st_size < DISK + MARGIN
    disk.close()
    assert check(path) == CLEAN


@pytest.mark.parametrize("cluster", [4096, 65536])
def test_a_disk_that_fills_waits_for_nothing_that_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: int
) -> None:
    path = create(tmp_path / "disk.qcow2", 64 * MIB, cluster_size=cluster)
    disk = open_disk(str(path))
    waited: list[int] = []
    pwritev = os.pwritev

    def writing(fd: int, buffers: Sequence[memoryview], offset: int, flags: int = 0) -> int:
        if flags & os.RWF_DSYNC:
            waited.append(sum(map(len, buffers)))
        return pwritev(fd, buffers, offset, flags)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", writing)
        patch.setattr(os, "fdatasync", waited.append)
        for start in range(0, 64 * MIB, MIB):
            disk.write(start, b"\1" * MIB)
    blocks = (64 * MIB // cluster) // (cluster // 2)
    assert len(waited) <= 2 * blocks + 3, "blocks of counts and their names, counts, and the end"
    disk.close()
    assert check(path) == CLEAN
    assert content(path) == b"\1" * (64 * MIB)


def test_what_is_taken_in_advance_is_at_most_what_the_disk_lacks(tmp_path: Path) -> None:
    path = create(tmp_path / "disk.qcow2", 1 << 40)
    disk = open_disk(str(path))
    disk.write(0, b"\1" * SECTOR)
    assert 128 * MIB <= path.stat().st_size < 129 * MIB
    disk.close()
    assert path.stat().st_size < MIB
    path = create(tmp_path / "disk.qcow2", 40 * MIB)
    disk = open_disk(str(path))
    disk.write(0, b"\1" * (40 * MIB))
    assert path.stat().st_size < 41 * MIB
    for start in range(0, 40 * MIB, MIB):
        disk.discard(start, MIB)
        disk.write(start, b"\2" * MIB)
    assert path.stat().st_size < 40 * MIB + MARGIN
    disk.close()
    assert check(path) == CLEAN


def test_space_is_given_back_and_used_again(tmp_path: Path) -> None:
    path = create(tmp_path / "disk.qcow2", 16 * MIB)
    disk = open_disk(str(path))
    for _ in range(6):
        disk.write(0, b"\1" * (8 * MIB))
        disk.discard(0, 8 * MIB)
        disk.flush()
    assert taken(path) < 2 * MIB, "the host has it back"
    disk.close()
    assert check(path) == CLEAN
    assert path.stat().st_size < 10 * MIB


def test_scattered_free_clusters_are_used_again(tmp_path: Path) -> None:
    path = create(tmp_path / "disk.qcow2", 16 * MIB)
    disk = open_disk(str(path))
    disk.write(0, b"\1" * (16 * MIB))
    length = path.stat().st_size
    cluster = 1 << 16
    for _ in range(3):
        for start in range(0, 16 * MIB, 2 * cluster):
            disk.discard(start, cluster)
        disk.flush()
        for start in range(0, 16 * MIB, 2 * cluster):
            disk.write(start, b"\2" * cluster)
    assert path.stat().st_size <= length
    assert disk.read(0, 16 * MIB) == (b"\2" * cluster + b"\1" * cluster) * 128
    disk.close()
    assert check(path) == CLEAN


def test_discarding_an_empty_disk_costs_nothing(tmp_path: Path) -> None:
    path = create(tmp_path / "disk.qcow2", 1 << 40)
    before = path.stat().st_size
    disk = open_disk(str(path))
    disk.discard(0, disk.size)
    disk.write_zeroes(1 << 30, 128 * MIB, unmap=True)
    disk.close()
    assert path.stat().st_size == before


@pytest.mark.parametrize("bits", [1, 16, 64])
def test_the_table_of_counts_grows(tmp_path: Path, bits: int) -> None:
    path = create(tmp_path / "disk.qcow2", 40 * MIB, cluster_size=512, refcount_bits=bits)
    disk = open_disk(str(path))
    data = random.Random(7).randbytes(9 * MIB)
    disk.write(0, data)
    disk.close()
    assert check(path) == CLEAN
    assert content(path) == data + bytes(31 * MIB)


def test_small_writes_to_an_empty_disk_take_little(tmp_path: Path) -> None:
    path = create(tmp_path / "disk.qcow2", 64 * MIB)
    disk = open_disk(str(path))
    for start in range(0, 64 * MIB, 64 << 10):
        disk.write(start + 8192, b"\1" * SECTOR)
    disk.flush()
    assert taken(path) < 16 * MIB, "not a whole cluster for each"
    disk.close()
    assert check(path) == CLEAN


# A host that fails


class Host:
    """Calls of the host that change files, of which one in a while fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: int, rng: random.Random):
        self._error, self._rng = error, rng
        self.left: int | None = None
        self.failed = 0
        pwritev, ftruncate = os.pwritev, os.ftruncate

        def writing(fd: int, buffers: Sequence[memoryview], offset: int, flags: int = 0) -> int:
            if not flags & os.RWF_DSYNC and self._fails():
                data = b"".join(buffers)
                written = rng.randrange(len(data) + 1)
                pwritev(fd, [data[:written]], offset)
                raise OSError(error, os.strerror(error))
            return pwritev(fd, buffers, offset, flags)

        def resizing(fd: int, length: int) -> None:
            if self._fails():
                raise OSError(error, os.strerror(error))
            ftruncate(fd, length)

        monkeypatch.setattr(os, "pwritev", writing)
        monkeypatch.setattr(os, "ftruncate", resizing)

    def _fails(self) -> bool:
        if self.left is None:
            return False
        self.left -= 1
        fails = self.left < 0
        self.failed += fails
        return fails


@pytest.mark.parametrize("make", [compressed, with_snapshots])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EFBIG, errno.EIO])
def test_what_fails_wastes_nothing(
    tmp_path: Path,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path, Path], Path],
    error: int,
) -> None:
    path = make(source, tmp_path / "disk.qcow2")
    rng, model = random.Random(error), bytearray(source.read_bytes())
    disk = open_disk(str(path))
    host = Host(monkeypatch, error, rng)
    for _ in range(200):
        offset = rng.randrange(SIZE // SECTOR - 200) * SECTOR
        data = rng.randbytes(rng.randrange(1, 200) * SECTOR)
        host.left = rng.choice([None, *range(6)])
        try:
            match rng.randrange(5):
                case 0:
                    disk.discard(offset, len(data))
                case 1:
                    disk.flush()
                case _:
                    disk.write(offset, data)
                    model[offset : offset + len(data)] = data
        except OSError:
            pass
        host.left = None
        model[offset : offset + len(data)] = disk.read(offset, len(data))
        assert disk.read(0, SIZE) == model
    assert host.failed > 20
    disk.close()
    assert check(path) == CLEAN
    assert content(path) == model


@contextmanager
def no_file_above(limit: int) -> Iterator[None]:
    """The host refuses to make files longer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_limit_is_used_up_and_no_more(tmp_path: Path) -> None:
    path = create(tmp_path / "disk.qcow2", 16 * MIB)
    disk = open_disk(str(path))
    done = 0
    with no_file_above(5 * MIB), suppress(OSError):
        while done < 16 * MIB:
            disk.write(done, b"\1" * (MIB // 4))
            done += MIB // 4
    assert 4 * MIB < done < 5 * MIB, "what fits is used"
    with no_file_above(5 * MIB):
        for _ in range(40):
            with pytest.raises(OSError, match="File too large"):
                disk.write(done, b"\1" * MIB)
    disk.write(done, b"\2" * MIB)
    disk.close()
    assert check(path) == CLEAN
    assert content(path) == (b"\1" * done + b"\2" * MIB).ljust(16 * MIB, b"\0")


def test_a_flush_that_fails_leaves_an_image_that_can_be_mended(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = with_snapshots(source, tmp_path / "disk.qcow2")
    disk = open_disk(str(path))

    def no_flush(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", no_flush)
        for offset in range(0, MIB, MIB // 8):
            with pytest.raises(OSError, match="Input/output error"):
                disk.write(offset, b"\1" * SECTOR)
        disk.close()
    check(path)
    assert content(path) == source.read_bytes()
    open_disk(str(path)).close()
    assert check(path) == CLEAN
