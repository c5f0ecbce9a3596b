"""qcow2 images as qemu-img makes and judges them."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bimetal.backends.block.block import Block
from tests.backends.block.late import transfer
from tests.host import programs

needs_qemu = programs("qemu-img", "qemu-io")

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
        data = bytearray(length)
        match rng.choice(("read", "read", "write", "write", "zero", "discard", "flush")):
            case "read":
                transfer(disk, offset, [memoryview(data)], rng, writes=False)
                assert disk.read(offset, length) == data == model[offset : offset + length]
            case "write":
                data[:] = rng.randbytes(length)
                buffers = [memoryview(data)[:100], memoryview(data)[100:]]
                if rng.random() < 0.5:
                    disk.writev(offset, buffers)
                else:
                    transfer(disk, offset, buffers, rng, writes=True)
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
def narrow_counts(source: Path, path: Path) -> Path:
    options = "refcount_bits=1,cluster_size=4096"
    img("convert", "-f", "raw", "-O", "qcow2", "-o", options, source, path)
    return path


@kind
def wide_counts(source: Path, path: Path) -> Path:
    options = "refcount_bits=64,cluster_size=4096"
    img("convert", "-c", "-f", "raw", "-O", "qcow2", "-o", options, source, path)
    img("snapshot", "-c", "first", path)
    return path


@kind
def zstd(source: Path, path: Path) -> Path:
    img("convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "compression_type=zstd", source, path)
    return path


@kind
def subclusters(source: Path, path: Path) -> Path:
    img("convert", "-f", "raw", "-O", "qcow2", "-o", "extended_l2=on", source, path)
    return path


@kind
def subclusters_over_raw(source: Path, path: Path) -> Path:
    base = path.with_suffix(".base")
    shutil.copy(source, base)
    create(path, backing_file=base.name, backing_fmt="raw", extended_l2="on", cluster_size=16384)
    io = ["write 1M 1k", "write -z 20k 2k", "write 2M 3k"]
    commands = [word for command in io for word in ("-c", command)]
    subprocess.run(["qemu-io", "-f", "raw", *commands, source], check=True, capture_output=True)
    subprocess.run(["qemu-io", "-f", "qcow2", *commands, path], check=True, capture_output=True)
    return path


@kind
def subclusters_with_snapshots(source: Path, path: Path) -> Path:
    subclusters(source, path)
    img("snapshot", "-c", "first", path)
    return path


@kind
def data_outside(source: Path, path: Path) -> Path:
    options = f"data_file={path.with_suffix('.data')},cluster_size=4096"
    img("convert", "-f", "raw", "-O", "qcow2", "-o", options, source, path)
    return path


@kind
def raw_data_outside(source: Path, path: Path) -> Path:
    options = f"data_file={path.with_suffix('.data')},data_file_raw=on"
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
