"""Damaged images, checked and mended: an answer or an error for the user, no more.

What is mended is sound, and shows what it showed where that could be read.
"""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path

import pytest

from bimetal import BimetalError, images
from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.qcow2.changes import create_snapshot
from bimetal.backends.block.qcow2.image import Qcow2Image

KIB = 1 << 10

WORDS = (0, 1, 3, 0x80, 0xFF, 0x200, 0x1000, 0xFFFF, 1 << 20, 1 << 31, 1 << 55, 1 << 62, 1 << 63)


@pytest.fixture(params=[512, 4096], ids=lambda size: f"clusters-of-{size}")
def image(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "image.qcow2"
    images.create(str(path), 60 * KIB, format="qcow2", cluster_size=request.param)
    with closing(open_disk(str(path))) as disk:
        assert isinstance(disk, Qcow2Image)
        disk.write(0, bytes(range(256)) * 60)
        create_snapshot(disk, "one", 10**18)
        disk.write(5 * KIB, b"\7" * 9 * KIB)
    return path


def play(image: Path, seed: int) -> None:
    rng, good = random.Random(seed), image.read_bytes()
    with closing(open_disk(str(image), readonly=True)) as disk:
        shown = disk.read(0, disk.size)
    wreck = bytearray(good)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(wreck) // 8) * 8
        value = rng.choice(WORDS) ^ rng.choice((0, 0, rng.choice(WORDS), rng.getrandbits(64)))
        wreck[at : at + 8] = (value & (1 << 64) - 1).to_bytes(8, "big")
    image.write_bytes(wreck)
    try:
        found = images.check(str(image))
        assert image.read_bytes() == wreck
        mended = images.check(str(image), repair="all")
    except BimetalError:
        return
    if found.is_sound and not found.findings.leaks:
        assert image.read_bytes() == wreck
    if mended.is_sound:
        assert not mended.findings.leaks or found.findings.leaks
        with closing(open_disk(str(image))) as disk:
            if disk.size == len(shown):
                disk.write(0, disk.read(0, 512))
        assert images.check(str(image)).is_sound


def test_damage_anywhere(image: Path) -> None:
    good = image.read_bytes()
    for seed in range(25):
        image.write_bytes(good)
        play(image, seed)


@pytest.mark.slow
def test_damage_anywhere_at_length(image: Path) -> None:
    good = image.read_bytes()
    for seed in range(10_000):
        image.write_bytes(good)
        play(image, seed)
