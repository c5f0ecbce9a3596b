"""A process that writes to a disk without end and tells what it does, for tests that kill it.

``python -m tests.backends.block.writer PATH SEED`` prints a line for each request before it is
made, ``STAMP FIRST COUNT``: so many sectors from the first one on get the content of that stamp;
``done`` when all that was told before has been answered, ``failed`` if something of it failed.
"""

from __future__ import annotations

import random
import struct
import sys
from collections.abc import Iterator
from contextlib import nullcontext, suppress

from bimetal.backends.block.block import Block
from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.qcow2.image import Qcow2Image

SECTOR = 512


def content(stamp: int, sector: int) -> bytes:
    """What is written to ``sector``; zeroes with stamp 0."""
    return struct.pack("<QQ", stamp, sector) * (SECTOR // 16) if stamp else bytes(SECTOR)


def tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def ranges(sectors: int, rng: random.Random) -> Iterator[tuple[int, int]]:
    """Here and there, and now and then a row of writes, one behind the other."""
    while True:
        count = rng.randrange(1, rng.choice((2, 9, 129, 700)))
        first = rng.randrange(sectors)
        for _ in range(rng.choice((1, 1, 1, 20))):
            if first + count > sectors:
                break
            yield first, count
            first += count


def write_for_ever(path: str, seed: int, *, goes_on: bool = False) -> None:
    """Write to the disk at ``path``; if it ``goes_on``, requests may fail, which is told."""
    rng = random.Random(seed)
    disk = open_disk(path)
    stamp = (seed + 1) << 32
    places = ranges(disk.size // SECTOR, rng)
    while True:
        group = rng.choice((1, 1, 5)) if isinstance(disk, Qcow2Image) else 1
        try:
            stamp = write_group(disk, [next(places) for _ in range(group)], stamp, rng)
        except OSError as error:
            if not goes_on:
                raise
            tell(f"failed: {error.strerror}")
            continue
        tell("done")
        if rng.random() < 0.1:
            with suppress(OSError) if goes_on else nullcontext():
                disk.flush()


def write_group(disk: Block, group: list[tuple[int, int]], stamp: int, rng: random.Random) -> int:
    """Write to the ranges of ``group``, each with a stamp of its own; the last one."""
    holding = disk if isinstance(disk, Qcow2Image) and len(group) > 1 else None
    if holding is not None:
        holding.hold()
    try:
        for first, count in group:
            stamp += 1
            if rng.random() < 0.1:
                tell(f"0 {first} {count}")
                disk.write_zeroes(first * SECTOR, count * SECTOR, unmap=rng.random() < 0.5)
            else:
                tell(f"{stamp} {first} {count}")
                data = b"".join(content(stamp, first + at) for at in range(count))
                disk.write(first * SECTOR, data)
    finally:
        if holding is not None:
            holding.settle()
    return stamp


if __name__ == "__main__":
    write_for_ever(sys.argv[1], int(sys.argv[2]))
