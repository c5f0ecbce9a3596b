"""qcow2 images, made and judged by qemu-img."""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bimetal.backends.block.block import Block
from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.qcow2 import references
from bimetal.base.errors import BimetalError
from tests.host import programs

pytestmark = programs("qemu-img")

SECTOR, KIB, MIB = 512, 1 << 10, 1 << 20
SIZE = 3 * MIB + 5 * SECTOR

CLEAN, LEAKS = 0, 3
"""What qemu-img check returns for sound images, and for those that waste space."""


def img(*arguments: str | Path) -> str:
    return subprocess.run(
        ["qemu-img", *map(str, arguments)], check=True, capture_output=True, text=True
    ).stdout


def create(path: Path, size: int = SIZE, **options: Any) -> Path:
    listed = ",".join(f"{name}={value}" for name, value in options.items())
    img("create", "-q", "-f", "qcow2", *(["-o", listed] if listed else []), path, str(size))
    return path


def check(path: Path) -> int:
    done = subprocess.run(
        ["qemu-img", "check", "-q", "-f", "qcow2", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (CLEAN, LEAKS), done.stdout + done.stderr
    return done.returncode


def content(path: Path) -> bytes:
    """What qemu-img sees in the disk."""
    out = path.with_suffix(".seen")
    img("convert", "-f", "qcow2", "-O", "raw", path, out)
    return out.read_bytes()


def noise(rng: random.Random, length: int) -> bytes:
    """Bytes that compress, but not to nothing."""
    return bytes(rng.choices(b"abcd", k=length // 8)) * 8 + bytes(length % 8)


def play(disk: Block, model: bytearray, rng: random.Random, steps: int) -> None:
    """Random reads, writes, zeroes, discards and flushes, judged by a plain array."""
    sectors = disk.size // SECTOR
    for _ in range(steps):
        first = rng.randrange(sectors)
        count = rng.randrange(1, min(sectors - first, rng.choice((2, 40, 700))) + 1)
        offset, length = first * SECTOR, count * SECTOR
        match rng.choice(("read", "read", "write", "write", "zero", "discard", "flush")):
            case "read":
                assert disk.read(offset, length) == model[offset : offset + length]
            case "write":
                data = rng.randbytes(length)
                disk.writev(offset, [memoryview(data)[:100], memoryview(data)[100:]])
                model[offset : offset + length] = data
            case "zero":
                disk.write_zeroes(offset, length, unmap=rng.random() < 0.5)
                model[offset : offset + length] = bytes(length)
            case "discard":
                disk.discard(offset, length)
                model[offset : offset + length] = disk.read(offset, length)
            case "flush":
                disk.flush()


KINDS: dict[str, Callable[[Path, Path], Path]] = {}
"""Ways to make an image whose disk has the bytes of a raw file."""


def kind(make: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
    KINDS[make.__name__] = make
    return make


@kind
def plain(source: Path, path: Path) -> Path:
    img("convert", "-f", "raw", "-O", "qcow2", source, path)
    return path


@kind
def compressed(source: Path, path: Path) -> Path:
    img("convert", "-c", "-f", "raw", "-O", "qcow2", source, path)
    return path


@kind
def version_2(source: Path, path: Path) -> Path:
    img("convert", "-f", "raw", "-O", "qcow2", "-o", "compat=0.10", source, path)
    return path


@kind
def small_clusters(source: Path, path: Path) -> Path:
    img("convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=512", source, path)
    return path


@kind
def large_clusters(source: Path, path: Path) -> Path:
    img("convert", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=2M", source, path)
    return path


@kind
def preallocated(source: Path, path: Path) -> Path:
    options = "preallocation=metadata"
    img("convert", "-f", "raw", "-O", "qcow2", "-o", options, source, path)
    return path


@kind
def over_raw(source: Path, path: Path) -> Path:
    base = path.with_suffix(".base")
    shutil.copy(source, base)
    return create(path, backing_file=base.name, backing_fmt="raw")


@kind
def version_2_over_raw(source: Path, path: Path) -> Path:
    base = path.with_suffix(".base")
    shutil.copy(source, base)
    return create(path, backing_file=base.name, backing_fmt="raw", compat="0.10")


@kind
def over_compressed(source: Path, path: Path) -> Path:
    base = compressed(source, path.with_name("base.qcow2"))
    return create(path, backing_file=base.name, backing_fmt="qcow2", cluster_size=4096)


@kind
def with_snapshots(source: Path, path: Path) -> Path:
    plain(source, path)
    img("snapshot", "-c", "first", path)
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The bytes that the disk begins with: half of it, with holes."""
    path = tmp_path / "source.raw"
    rng = random.Random(1)
    data = noise(rng, MIB) + bytes(MIB // 2) + noise(rng, MIB // 4)
    path.write_bytes(data.ljust(SIZE, b"\0"))
    return path


@pytest.fixture(params=KINDS)
def image(request: pytest.FixtureRequest, tmp_path: Path, source: Path) -> Path:
    return KINDS[request.param](source, tmp_path / "disk.qcow2")


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


def test_the_reference_table_grows(tmp_path: Path) -> None:
    path = create(tmp_path / "disk.qcow2", 40 * MIB, cluster_size=512)
    disk = open_disk(str(path))
    data = random.Random(7).randbytes(9 * MIB)
    disk.write(0, data)
    disk.close()
    assert check(path) == CLEAN
    assert content(path) == data + bytes(31 * MIB)


def test_space_is_given_back_and_used_again(tmp_path: Path) -> None:
    path = create(tmp_path / "disk.qcow2", 16 * MIB)
    disk = open_disk(str(path))
    for _ in range(6):
        disk.write(0, b"\1" * (8 * MIB))
        disk.discard(0, 8 * MIB)
        disk.flush()
    assert path.stat().st_blocks * 512 < 2 * MIB, "the host has it back"
    disk.close()
    assert check(path) == CLEAN
    assert path.stat().st_size < 26 * MIB


def test_discarding_an_empty_disk_costs_nothing(tmp_path: Path) -> None:
    path = create(tmp_path / "disk.qcow2", 1 << 40)
    before = path.stat().st_size
    disk = open_disk(str(path))
    disk.discard(0, disk.size)
    disk.write_zeroes(1 << 30, 128 * MIB, unmap=True)
    disk.close()
    assert path.stat().st_size == before


# Crashes


class Journal:
    """All writes to a file and changes of its length, and the flushes between them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.events: list[tuple[int, bytes] | int | None] = []
        pwritev, ftruncate, fdatasync = os.pwritev, os.ftruncate, os.fdatasync

        def writing(fd: int, buffers: Sequence[memoryview], offset: int) -> int:
            self.events.append((offset, b"".join(buffers)))
            return pwritev(fd, buffers, offset)

        def resizing(fd: int, length: int) -> None:
            self.events.append(length)
            ftruncate(fd, length)

        def flushing(fd: int) -> None:
            self.events.append(None)
            fdatasync(fd)

        monkeypatch.setattr(os, "pwritev", writing)
        monkeypatch.setattr(os, "ftruncate", resizing)
        monkeypatch.setattr(os, "fdatasync", flushing)

    def crash(self, before: bytes, rng: random.Random, position: int) -> bytes:
        """The file after a crash at ``position``: what was flushed is there, and of the rest some
        sectors, many or few, in any mixture. New space that was not written holds rubbish."""
        file = bytearray(before)
        happened = self.events[:position]
        safe = max((at for at, event in enumerate(happened) if event is None), default=0)
        kept = rng.choice((0.1, 0.5, 0.9))
        for at, event in enumerate(happened):
            if isinstance(event, int) and (at < safe or rng.random() < kept):
                file.extend(b"\xa5" * (event - len(file)))
                del file[event:]
            if isinstance(event, tuple):
                offset, data = event
                for start in range(0, len(data), SECTOR):
                    if at < safe or rng.random() < kept:
                        piece = data[start : start + SECTOR]
                        place = offset + start
                        file.extend(b"\xa5" * (place - len(file)))
                        file[place : place + len(piece)] = piece
        return bytes(file)


@pytest.mark.parametrize("name", ["fresh", "small_clusters", "over_compressed", "with_snapshots"])
def test_no_crash_of_the_host_breaks_the_image(
    name: str, tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rng = tmp_path / "disk.qcow2", random.Random(8)
    model = bytearray(source.read_bytes())
    if name == "fresh":
        create(path, cluster_size=512)
        model = bytearray(SIZE)
    else:
        KINDS[name](source, path)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(references, "BATCH_BYTES", 32 * KIB)
        journal = Journal(patch)
        disk = open_disk(str(path))
        flushed: list[tuple[int, bytes]] = []
        for _ in range(4):
            play(disk, model, rng, 12)
            disk.flush()
            flushed.append((len(journal.events), bytes(model)))
        disk.close()
    wreck = tmp_path / "wreck.qcow2"
    for _ in range(12):
        position = rng.randrange(len(journal.events))
        wreck.write_bytes(journal.crash(before, rng, position))
        check(wreck)
    for position, model_then in flushed:
        wreck.write_bytes(journal.crash(before, rng, position))
        check(wreck)
        assert content(wreck) == model_then, "what was flushed is there"


def test_a_write_that_finds_no_space_leaves_a_sound_image(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = compressed(source, tmp_path / "disk.qcow2")
    rng, model = random.Random(9), bytearray(source.read_bytes())
    disk = open_disk(str(path))
    real, left = os.pwritev, [0]

    def sometimes_full(fd: int, buffers: Sequence[memoryview], offset: int) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        return real(fd, buffers, offset)

    monkeypatch.setattr(os, "pwritev", sometimes_full)
    failures = 0
    for _ in range(120):
        left[0] = rng.randrange(12)
        offset = rng.randrange(SIZE // SECTOR - 200) * SECTOR
        data = rng.randbytes(rng.randrange(1, 200) * SECTOR)
        try:
            disk.write(offset, data)
        except OSError:
            failures += 1
            left[0] = 1000
            seen = disk.read(offset, len(data))
            model[offset : offset + len(data)] = seen
        else:
            model[offset : offset + len(data)] = data
    left[0] = 1000
    assert failures > 10
    assert disk.read(0, SIZE) == model
    disk.close()
    check(path)
    assert content(path) == model


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compression_type": "zstd"}, "another compression than zlib"),
        ({"extended_l2": "on"}, "extended L2 entries"),
        ({"data_file": "data.raw"}, "an external data file"),
    ],
)
def test_what_is_not_supported_is_named(
    tmp_path: Path, options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = create(tmp_path / "disk.qcow2", **options)
    with pytest.raises(BimetalError, match=message) as caught:
        open_disk(str(path), readonly=True)
    subprocess.run(caught.value.remedy.partition(": ")[2], shell=True, check=True)
    with closing(open_disk(str(tmp_path / "disk-2.qcow2"))) as disk:
        assert disk.read(0, SIZE) == bytes(SIZE)


def test_an_encrypted_image_is_told_how_to_be_unlocked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a,disk.qcow2"
    (tmp_path / "PASSWORD_FILE").write_text("secret")
    options = "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10"
    secret = "secret,id=key,file=PASSWORD_FILE"
    img("create", "-q", "-f", "qcow2", "--object", secret, "-o", options, path, str(SIZE))
    with pytest.raises(BimetalError, match="encryption") as caught:
        open_disk(str(path))
    subprocess.run(caught.value.remedy.partition(": ")[2], shell=True, check=True)
    with closing(open_disk(str(tmp_path / "a,disk-2.qcow2"))) as disk:
        assert disk.read(0, SIZE) == bytes(SIZE)


def test_narrow_reference_counts_are_for_reading_only(tmp_path: Path) -> None:
    path = create(tmp_path / "disk.qcow2", refcount_bits=8)
    open_disk(str(path), readonly=True).close()
    with pytest.raises(BimetalError, match="reference counts of 8 bits"):
        open_disk(str(path))


@pytest.mark.parametrize("bit", [1, 2])
def test_an_image_that_was_not_closed_well_is_for_reading_only(tmp_path: Path, bit: int) -> None:
    path = create(tmp_path / "disk.qcow2")
    with path.open("r+b") as file:
        file.seek(72)
        file.write(struct.pack(">Q", bit))
    open_disk(str(path), readonly=True).close()
    with pytest.raises(BimetalError, match="was not closed well"):
        open_disk(str(path))


def test_autoclear_features_are_cleared_when_written(tmp_path: Path) -> None:
    path = create(tmp_path / "disk.qcow2")
    img("bitmap", "--add", path, "dirty")
    assert path.read_bytes()[88:96] != bytes(8)
    open_disk(str(path)).close()
    assert path.read_bytes()[88:96] == bytes(8)
