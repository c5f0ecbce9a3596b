"""How a disk is stored: the extents that images tell of themselves are those that qemu-img sees."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bimetal.backends.block.block import Block, joined
from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.memory import MemoryDisk
from tests.backends.block.qcow2.qemu import KIB, create, img, needs_qemu


def told(disk: Block) -> list[dict[str, Any]]:
    """The extents of a disk as qemu-img map writes them."""
    fields = ("start", "length", "depth", "present", "zero", "data")
    listed = []
    for extent in joined(disk.extents(0, disk.size)):
        line = {name: getattr(extent, name) for name in fields}
        if extent.offset is not None:
            line["offset"] = extent.offset
        listed.append(line)
    return listed


def seen(path: Path, format: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(img("map", "--output=json", "-f", format, path))
    return listed


def io(path: Path, *commands: str) -> None:
    words = [word for command in commands for word in ("-c", command)]
    subprocess.run(["qemu-io", "-f", "qcow2", *words, str(path)], check=True, capture_output=True)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A file with holes."""
    path = tmp_path / "disk.raw"
    with path.open("wb") as file:
        file.truncate(1000 * KIB)
        file.seek(128 * KIB)
        file.write(b"x" * 64 * KIB)
    return path


@needs_qemu
def test_raw(raw: Path) -> None:
    disk = open_disk(str(raw), readonly=True)
    assert told(disk) == seen(raw, "raw")
    disk.close()


@needs_qemu
def test_holes_are_found_in_parts_of_a_disk(raw: Path) -> None:
    disk = open_disk(str(raw), readonly=True)
    parts = [extent for at in range(0, disk.size, 512) for extent in disk.extents(at, 512)]
    assert list(joined(parts)) == list(joined(disk.extents(0, disk.size)))
    disk.close()


@needs_qemu
def test_an_overlay_tells_of_what_lies_below_it(raw: Path) -> None:
    top = create(raw.with_name("top.qcow2"), 1200 * KIB, backing_file=raw, backing_fmt="raw")
    io(top, "write 64k 64k", "write -z 256k 64k", "write 384k 64k", "write -z 384k 64k")
    disk = open_disk(str(top), readonly=True)
    assert told(disk) == seen(top, "qcow2")
    disk.close()


def test_who_does_not_know_says_that_all_is_data() -> None:
    disk = MemoryDisk(4 * KIB)
    assert [(extent.start, extent.length, extent.data) for extent in disk.extents(512, 1024)] == [
        (512, 1024, True)
    ]
    assert not list(disk.extents(0, 0))
