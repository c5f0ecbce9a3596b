"""An image of every kind, whose disk has the bytes of a raw file."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.backends.block.qcow2.qemu import KINDS, MIB, SIZE, noise


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
