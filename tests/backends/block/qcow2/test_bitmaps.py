"""Dirty bitmaps are kept bit by bit; those that should have told of a change say that they did not,
and no others. QEMU is the judge of both."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bimetal import images
from bimetal.backends.block.choose import open_disk
from tests.backends.block.nbd.serving import qemu_nbd
from tests.backends.block.qcow2.qemu import CLEAN, KIB, MIB, check, create, img
from tests.host import programs

pytestmark = programs("qemu-img", "qemu-io", "qemu-nbd")

SIZE = 8 * MIB
CHANGED = [(MIB, 128 * KIB), (5 * MIB, 64 * KIB)]
"""Offset and length of what the bitmaps tell of."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An image with a snapshot and two bitmaps: one tells of changes, the other one does not any
    more."""
    path = create(tmp_path / "disk.qcow2", SIZE)
    img("snapshot", "-c", "before", path)
    for name in ("running", "ended"):
        img("bitmap", "--add", path, name)
    for offset, length in CHANGED:
        writing = ["qemu-io", "-f", "qcow2", "-c", f"write -P 5 {offset} {length}", str(path)]
        subprocess.run(writing, check=True, capture_output=True)
    img("bitmap", "--disable", path, "ended")
    return path


def flags(path: Path) -> dict[str, list[str]]:
    told = json.loads(img("info", "--output=json", path))
    return {each["name"]: each["flags"] for each in told["format-specific"]["data"]["bitmaps"]}


def changes(path: Path, name: str) -> list[tuple[int, int]]:
    """What a backup program is told by a bitmap."""
    socket = path.with_suffix(".sock")
    place = f"driver=nbd,server.type=unix,server.path={socket}"
    with qemu_nbd(socket, "--read-only", "-f", "qcow2", "-B", name, str(path)):
        options = f"{place},x-dirty-bitmap=qemu:dirty-bitmap:{name}"
        told = json.loads(img("map", "--output=json", "--image-opts", options))
    socket.with_suffix(".pid").unlink()
    return [(each["start"], each["length"]) for each in told if not each["data"]]


def serves(path: Path, name: str) -> bool:
    """Whether QEMU gives a bitmap to a backup program at all."""
    words = ["-k", str(path.with_suffix(".none")), "--read-only", "-f", "qcow2", "-B", name]
    done = subprocess.run(
        ["qemu-nbd", "--fork", *words, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode, "the server would go on"
    return "inconsistent" not in done.stderr


def write(path: Path) -> None:
    disk = open_disk(str(path))
    disk.write(2 * MIB, b"\6" * MIB)
    disk.discard(5 * MIB, MIB)
    disk.write_zeroes(0, 64 * KIB)
    disk.close()


def commit(path: Path) -> None:
    layer = create(path.with_name("layer.qcow2"), SIZE, backing_file=path, backing_fmt="qcow2")
    write(layer)
    images.commit(str(layer))


WRITERS: dict[str, Callable[[Path], object]] = {
    "write": write,
    "commit": commit,
    "create a snapshot": lambda path: images.create_snapshot(str(path), "after"),
    "apply a snapshot": lambda path: images.apply_snapshot(str(path), "before"),
    "delete a snapshot": lambda path: images.delete_snapshot(str(path), "before"),
}
READERS: dict[str, Callable[[Path], object]] = {
    "open": lambda path: open_disk(str(path), readonly=True).close(),
    "forget": lambda path: open_disk(str(path), snapshot=True).close(),
    "info": lambda path: print(images.information(str(path))),
    "check": lambda path: print(images.check(str(path))),
    "map": lambda path: print(list(images.extents(str(path)))),
    "compare": lambda path: print(images.compare(str(path), str(path))),
    "convert": lambda path: images.convert([str(path)], f"{path}.raw"),
}


@pytest.mark.parametrize("name", READERS)
def test_who_only_reads_leaves_all_as_they_are(path: Path, name: str) -> None:
    before = path.read_bytes()
    READERS[name](path)
    assert path.read_bytes() == before
    assert flags(path) == {"running": ["auto"], "ended": []}
    assert changes(path, "running") == changes(path, "ended") == CHANGED


@pytest.mark.parametrize("name", WRITERS)
def test_who_writes_outdates_what_should_tell_of_it(path: Path, name: str) -> None:
    WRITERS[name](path)
    assert flags(path) == {"running": ["in-use", "auto"], "ended": []}
    assert not serves(path, "running")
    assert changes(path, "ended") == CHANGED
    assert check(path) == CLEAN


def test_an_outdated_one_makes_room_for_its_successor(path: Path) -> None:
    write(path)
    img("bitmap", "--remove", path, "running")
    img("bitmap", "--add", path, "running")
    writing = ["qemu-io", "-f", "qcow2", "-c", f"write {7 * MIB} {64 * KIB}", str(path)]
    subprocess.run(writing, check=True, capture_output=True)
    assert changes(path, "running") == [(7 * MIB, 64 * KIB)]
    assert changes(path, "ended") == CHANGED
    assert check(path) == CLEAN


def test_a_bitmap_of_another_size_is_no_use_to_anybody(path: Path) -> None:
    images.resize(str(path), 2 * SIZE)
    assert flags(path) == {"running": ["in-use", "auto"], "ended": ["in-use"]}
    assert not serves(path, "running")
    assert not serves(path, "ended")
    assert check(path) == CLEAN
