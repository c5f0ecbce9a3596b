"""Tables with a wrong bit: `bimetal image check` tells what qemu-img tells, and what it calls
sound can be read and written."""

from __future__ import annotations

import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from bimetal import images
from bimetal.backends.block.choose import open_disk
from tests.backends.block.qcow2.qemu import CLEAN, LEAKS, img, needs_qemu

pytestmark = needs_qemu

CLUSTERS = 40
"""Clusters of the disk that have bytes; as many have none."""

KINDS = {
    "plain": "cluster_size=4096",
    "packed": "cluster_size=4096",
    "parts": "cluster_size=16384,extended_l2=on",
    "outside": "cluster_size=4096,data_file=outside.data",
}

L1_OFFSET_AT, SNAPSHOTS_OFFSET_AT, OFFSET = 40, 64, 0x00FF_FFFF_FFFF_FE00

STRICTER = {("parts", 0): "the standard reserves it, and qemu-img does not look"}
"""Bits of L2 entries that only we call wrong."""

PACKED_PLACES = range(62)
"""Bits of an entry that say where compressed bytes lie: what those are is not looked at."""


@pytest.fixture(params=KINDS)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    kind = request.param
    source, path = tmp_path / "source.raw", tmp_path / "image.qcow2"
    cluster = 16384 if kind == "parts" else 4096
    source.write_bytes(bytes(range(256)) * (CLUSTERS * cluster // 256) + bytes(CLUSTERS * cluster))
    options = KINDS[kind].replace("outside.data", str(tmp_path / "outside.data"))
    packed = ["-c"] if kind == "packed" else []
    img("convert", *packed, "-O", "qcow2", "-o", options, source, path)
    if kind in ("plain", "parts"):
        img("snapshot", "-c", "first", path)
    return kind, path


def word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "big")


def places(kind: str, data: bytes) -> dict[str, int]:
    """Where entries lie: of L1, and of L2 for clusters that are there, and for one that is not."""
    l1 = word(data, L1_OFFSET_AT)
    l2, step = word(data, l1) & OFFSET, 16 if kind == "parts" else 8
    found = {
        "L1": l1,
        "first": l2,
        "another": l2 + 20 * step,
        "none": l2 + (CLUSTERS + 6) * step,
    }
    if kind == "parts":
        found |= {f"parts of {name}": at + 8 for name, at in found.items() if name != "L1"}
    return found


def judged_by_qemu(path: Path) -> bool:
    command = ["qemu-img", "check", "-q", str(path)]
    code = subprocess.run(command, capture_output=True, check=False).returncode
    return code in (CLEAN, LEAKS)


def disagreement(kind: str, name: str, bit: int, path: Path) -> str:
    """What is wrong with what we say of an image with such a wrong bit: "" if nothing is."""
    ours, theirs = images.check(str(path)), judged_by_qemu(path)
    stricter = (kind, bit) in STRICTER and not name.startswith(("L1", "parts"))
    moved = kind == "outside" and name != "L1"  # qemu-img looks when it reads
    if ours.is_sound != theirs and not (theirs and (stricter or moved)):
        return f"qemu-img finds it {theirs}: {ours.messages}"
    if not ours.is_sound or (kind == "packed" and bit in PACKED_PLACES) or bit == 62:
        return ""
    with closing(open_disk(str(path))) as disk:
        disk.write(0, disk.read(0, 512))
    return "" if images.check(str(path)).is_sound else "it is not sound after a write"


def try_all(kind: str, path: Path, bits: range) -> None:
    good = path.read_bytes()
    wrong = []
    for name, at in places(kind, good).items():
        for bit in bits:
            data = bytearray(good)
            data[at : at + 8] = (word(good, at) ^ 1 << bit).to_bytes(8, "big")
            path.write_bytes(data)
            if found := disagreement(kind, name, bit, path):
                wrong.append((name, bit, found))
    assert not wrong


def test_a_wrong_bit_is_told_of(made: tuple[str, Path]) -> None:
    try_all(*made, range(0, 64, 7))


@pytest.mark.slow
def test_every_wrong_bit_is_told_of(made: tuple[str, Path]) -> None:
    try_all(*made, range(64))


def test_reserved_bits_are_told_of_and_not_mended(tmp_path: Path) -> None:
    path = tmp_path / "image.qcow2"
    images.create(str(path), 1 << 20, format="qcow2")
    with closing(open_disk(str(path))) as disk:
        disk.write(0, b"x" * 512)
    good = path.read_bytes()
    data = bytearray(good)
    data[places("plain", good)["none"] + 7] = 0x80
    path.write_bytes(data)
    checked = images.check(str(path), repair="all")
    assert not checked.is_sound
    assert "has reserved bits: 0x80" in checked.messages[0]
    assert path.read_bytes() == data


def check_mending(path: Path) -> None:
    """One place of an image is damaged; the check finds and mends it, and qemu-img agrees."""
    assert images.check(str(path)).findings.corruptions == 1
    checked = images.check(str(path), repair="all")
    assert checked.is_sound
    assert checked.corruptions_fixed == 1
    assert judged_by_qemu(path)


def test_marks_that_are_missing_are_mended_in_front_of_a_data_file(tmp_path: Path) -> None:
    path = tmp_path / "image.qcow2"
    data_file = str(tmp_path / "outside.data")
    images.create(str(path), 1 << 20, format="qcow2", cluster_size=4096, data_file=data_file)
    with closing(open_disk(str(path))) as disk:
        disk.write(0, b"x" * 16384)
    data = bytearray(path.read_bytes())
    data[places("plain", bytes(data))["first"] + 8] &= 0x7F  # of the second cluster
    path.write_bytes(data)
    check_mending(path)
    with closing(open_disk(str(path))) as disk:
        assert disk.read(0, 16384) == b"x" * 16384


@pytest.mark.parametrize("where", ["disk", "snapshot"])
def test_a_mark_on_no_table_is_mended(where: str, tmp_path: Path) -> None:
    path = tmp_path / "image.qcow2"
    images.create(str(path), 64 << 20, format="qcow2", cluster_size=4096)
    with closing(open_disk(str(path))) as disk:
        disk.write(0, b"x" * 512)
    img("snapshot", "-c", "first", path)
    data = bytearray(path.read_bytes())
    good = bytes(data)
    l1 = word(good, L1_OFFSET_AT if where == "disk" else word(good, SNAPSHOTS_OFFSET_AT))
    data[l1 + 3 * 8] = 0x80
    path.write_bytes(data)
    assert not judged_by_qemu(path)
    check_mending(path)
    with closing(open_disk(str(path))) as disk:
        assert disk.read(0, 512) == b"x" * 512
