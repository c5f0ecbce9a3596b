"""Damaged and hostile qcow2 images: an error for the user, an I/O error for the guest, no more."""

from __future__ import annotations

import contextlib
import os
import struct
import tempfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bimetal.backends.block.choose import open_disk
from bimetal.base.errors import BimetalError

CLUSTER = 512
CLUSTERS = 100
COPIED, COMPRESSED, ZERO = 1 << 63, 1 << 62, 1


def tiny_image() -> bytes:
    """Version 3, clusters of 512 bytes; in the file: header, reference table, reference block,
    L1, two L2 tables, data, a compressed cluster."""
    header = struct.pack(
        ">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, 0, 0, 9, CLUSTERS * CLUSTER, 0,
        2, 3 * CLUSTER, CLUSTER, 1, 0, 0, 0, 0, 0, 4, 104,
    )  # fmt: skip
    packer = zlib.compressobj(wbits=-12)
    packed = packer.compress(b"compress me" + bytes(CLUSTER - 11)) + packer.flush()
    first, second = [0] * 64, [0] * 64
    first[0], first[1], first[2] = 6 * CLUSTER | COPIED, 7 * CLUSTER | COPIED, ZERO
    first[3] = 8 * CLUSTER | COMPRESSED
    second[35] = 9 * CLUSTER | COPIED
    clusters = [
        header,
        struct.pack(">Q", 2 * CLUSTER),
        struct.pack(">10H", *[1] * 10),
        struct.pack(">2Q", 4 * CLUSTER | COPIED, 5 * CLUSTER | COPIED),
        struct.pack(">64Q", *first),
        struct.pack(">64Q", *second),
        b"\1" * CLUSTER,
        b"\2" * CLUSTER,
        packed,
        b"\3" * CLUSTER,
    ]
    return b"".join(cluster.ljust(CLUSTER, b"\0") for cluster in clusters)


GOOD = tiny_image()
WORDS = [
    0, 1, 2, 0xFF, 0xFFFF, 1 << 20, 1 << 31, (1 << 32) - 1, 1 << 40, 1 << 62, 1 << 63,
    (1 << 64) - 1, CLUSTER, 3 * CLUSTER | COPIED, CLUSTER | COPIED, 1 << 55 | COPIED,
    COMPRESSED | 8 * CLUSTER, COMPRESSED | (1 << 62) - 1, 600 | COPIED, len(GOOD) | COPIED,
]  # fmt: skip


def damage(at: int, width: int, value: int) -> tuple[int, bytes]:
    return at, (value & (1 << 8 * width) - 1).to_bytes(width, "big")


HEADER_FIELDS = st.builds(
    damage,
    st.sampled_from([0, 4, 8, 16, 20, 24, 32, 36, 40, 48, 56, 60, 64, 72, 80, 88, 96, 100, 104]),
    st.sampled_from([1, 4, 8]),
    st.one_of(st.sampled_from(WORDS), st.integers(0, 2**64 - 1)),
)
TABLE_ENTRIES = st.builds(
    damage,
    st.integers(CLUSTER // 8, 6 * CLUSTER // 8 - 1).map(lambda word: word * 8),
    st.sampled_from([2, 8]),
    st.one_of(st.sampled_from(WORDS), st.integers(0, 2**64 - 1)),
)
ANYWHERE = st.builds(damage, st.integers(0, len(GOOD) - 8), st.just(1), st.integers(0, 255))
DAMAGES = st.lists(st.one_of(HEADER_FIELDS, TABLE_ENTRIES, ANYWHERE), max_size=4)


def use(path: str, readonly: bool) -> None:
    disk = open_disk(path, readonly=readonly)
    size = min(disk.size, 1 << 20)
    for offset in (0, 3 * CLUSTER, size - 512):
        with contextlib.suppress(OSError):
            assert len(disk.read(offset, 512)) == 512
    with contextlib.suppress(OSError):
        disk.read(0, size)
    if not readonly:
        for offset, length in ((0, 512), (3 * CLUSTER, 1024), (size - 512, 512), (0, size)):
            with contextlib.suppress(OSError):
                disk.write(offset, b"\xaa" * length)
            with contextlib.suppress(OSError):
                disk.discard(offset, length)
            with contextlib.suppress(OSError):
                disk.flush()
    disk.close()


def check(readonly: bool, damages: list[tuple[int, bytes]], cut: int | None) -> None:
    """Use the image with all of ``damages``, and cut off after ``cut`` bytes."""
    data = bytearray(GOOD)
    for at, piece in damages:
        data[at : at + len(piece)] = piece
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "disk.qcow2"
        path.write_bytes(data[:cut])
        before = len(os.listdir("/proc/self/fd"))
        with contextlib.suppress(BimetalError):
            use(str(path), readonly)
        assert len(os.listdir("/proc/self/fd")) == before, "a descriptor was left open"
        if readonly:
            assert path.read_bytes() == data[:cut]


damaged = given(damages=DAMAGES, cut=st.one_of(st.none(), st.integers(0, len(GOOD))))


@pytest.mark.parametrize("readonly", [True, False])
@settings(max_examples=150)
@damaged
def test_damaged_images(readonly: bool, damages: list[tuple[int, bytes]], cut: int | None) -> None:
    check(readonly, damages, cut)


@pytest.mark.slow
@pytest.mark.parametrize("readonly", [True, False])
@settings(max_examples=10_000)
@damaged
def test_ten_thousand_damaged_images(
    readonly: bool, damages: list[tuple[int, bytes]], cut: int | None
) -> None:
    check(readonly, damages, cut)


def test_the_image_that_is_damaged_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "disk.qcow2"
    path.write_bytes(GOOD)
    disk = open_disk(str(path))
    assert disk.read(0, 1024) == b"\1" * 512 + b"\2" * 512
    assert disk.read(3 * CLUSTER, 11) == b"compress me"
    assert disk.read(99 * CLUSTER, 512) == b"\3" * 512
    disk.write(0, b"\4" * disk.size)
    assert disk.read(0, disk.size) == b"\4" * disk.size
    disk.close()
