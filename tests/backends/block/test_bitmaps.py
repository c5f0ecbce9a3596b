"""Dirty bitmaps mark what changes, and nothing that was not touched."""

from __future__ import annotations

import struct
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimetal.backends.block.bitmaps import Bitmaps, DirtyBitmap
from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.growing import grow_disk
from bimetal.base.errors import BimetalError

SECTOR = 512
SIZES = st.integers(1, 5000).map(lambda sectors: sectors * SECTOR)
GRANULARITIES = st.integers(9, 18).map(lambda power: 1 << power)
WORDS = st.integers(0, (1 << 32) - 1)
CHANGE = struct.Struct("<IIB")
CHANGES = st.binary(max_size=8 * CHANGE.size)
"""What `changes` makes changes of: drawn at once, since each thing that is drawn takes its time, on
a busy host a hundred times as much."""


def granules(offset: int, length: int, granularity: int) -> range:
    return range(offset // granularity, -(-(offset + length) // granularity))


def said(bitmap: DirtyBitmap, granularity: int) -> set[int]:
    """The granules that its runs are made of, which do not touch each other."""
    found, end = set[int](), -1
    for offset, length in bitmap.runs():
        assert offset > end
        end = offset + length
        found |= set(granules(offset, length, granularity))
    return found


def changes(raw: bytes, size: int) -> list[tuple[int, int]]:
    """Bytes of a disk that change, by offset and length, which may be short."""
    whole = raw[: len(raw) // CHANGE.size * CHANGE.size]
    found = [
        (offset % size, length % (size + 1) >> shift % 24)
        for offset, length, shift in CHANGE.iter_unpack(whole)
    ]
    return [(offset, min(length, size - offset)) for offset, length in found]


@given(CHANGES, SIZES, GRANULARITIES)
def test_it_marks_the_granules_that_change(raw: bytes, size: int, granule: int) -> None:
    bitmap = DirtyBitmap("b", size, granule)
    expected = set[int]()
    for offset, length in changes(raw, size):
        bitmap.mark(offset, length)
        expected |= set(granules(offset, length, granule)) if length else set()
    assert said(bitmap, granule) == expected
    ends = sum(min((each + 1) * granule, size) - each * granule for each in expected)
    assert bitmap.count == min(len(expected) * granule, size) >= ends
    assert sum(length for _, length in bitmap.runs()) == ends


@given(CHANGES, CHANGES, SIZES, GRANULARITIES, GRANULARITIES)
def test_it_takes_over_what_another_marks(
    raw: bytes, more: bytes, size: int, granule: int, other: int
) -> None:
    one, two = DirtyBitmap("one", size, granule), DirtyBitmap("two", size, other)
    for bitmap, marked in ((one, raw), (two, more)):
        for change in changes(marked, size):
            bitmap.mark(*change)
    expected = said(one, granule)
    for run in two.runs():
        expected |= set(granules(*run, granule))
    one.merge(two)
    assert said(one, granule) == expected


@given(CHANGES, SIZES, SIZES, GRANULARITIES)
def test_a_disk_of_another_size(raw: bytes, old: int, new: int, granule: int) -> None:
    bitmap = DirtyBitmap("b", old, granule)
    for change in changes(raw, old):
        bitmap.mark(*change)
    expected = {each for each in said(bitmap, granule) if each * granule < new}
    if new > old:
        expected |= set(granules(old, new - old, granule))
    bitmap.resize(new)
    assert said(bitmap, granule) == expected


def test_what_is_lent_is_told_all_the_time() -> None:
    bitmap = DirtyBitmap("b", 8 * SECTOR, SECTOR)
    bitmap.mark(0, SECTOR)
    bitmap.lend()
    bitmap.mark(3 * SECTOR, SECTOR)
    assert bitmap.busy
    assert [*bitmap.runs()] == [(0, SECTOR), (3 * SECTOR, SECTOR)]
    bitmap.give_back(valid=True)
    assert [*bitmap.runs()] == [(0, SECTOR), (3 * SECTOR, SECTOR)]
    bitmap.lend()
    bitmap.give_back(valid=False)
    assert not [*bitmap.runs()]
    assert not bitmap.busy


def test_only_those_that_record_are_told() -> None:
    bitmaps = Bitmaps(8 * SECTOR)
    for name, recording in (("on", True), ("off", False)):
        bitmaps.add(DirtyBitmap(name, 8 * SECTOR, SECTOR, recording=recording))
    bitmaps.mark(0, SECTOR)
    bitmaps.record("on", False)
    bitmaps.record("off", True)
    bitmaps.mark(SECTOR, SECTOR)
    assert [*bitmaps["on"].runs()] == [(0, SECTOR)]
    assert [*bitmaps["off"].runs()] == [(SECTOR, SECTOR)]


def test_a_disk_grows_as_far_as_there_is_memory_for_its_bitmaps(tmp_path: Path) -> None:
    """A bitmap of 512 bytes a granule, of a disk of 2 TiB, has 512 MiB."""
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(1 << 20))
    with closing(open_disk(str(path), format="raw", bitmaps=True)) as disk:
        assert disk.bitmaps is not None
        disk.bitmaps.add(DirtyBitmap("fine", disk.size, SECTOR))
        with pytest.raises(
            BimetalError, match="'fine', of a granularity of 512, would be too much"
        ):
            grow_disk(disk, 2 << 40)
        assert disk.size == disk.bitmaps.size == path.stat().st_size == 1 << 20
        disk.bitmaps.remove("fine")
        disk.bitmaps.add(DirtyBitmap("rough", disk.size, 1 << 20))
        grow_disk(disk, 2 << 40)
        assert [*disk.bitmaps["rough"].runs()] == [(1 << 20, (2 << 40) - (1 << 20))]


@pytest.mark.parametrize(
    ("name", "granularity", "why"),
    [
        ("", 512, "is no name"),
        ("n" * 1024, 512, "is no name"),
        ("ä" * 512, 512, "is no name"),
        ("there", 512, "already"),
        ("new", 0, "no power of two"),
        ("new", 256, "no power of two"),
        ("new", 65537, "no power of two"),
        ("new", 1 << 32, "no power of two"),
        ("new", 512, "too much"),
    ],
)
def test_what_there_cannot_be(name: str, granularity: int, why: str) -> None:
    bitmaps = Bitmaps(1 << 50)
    bitmaps.add(DirtyBitmap("there", 1 << 20, 65536))
    with pytest.raises(BimetalError, match=why):
        bitmaps.check_new(name, granularity)
    bitmaps.check_new("ä" * 511, 1 << 31)


@given(CHANGES, SIZES, GRANULARITIES, WORDS, WORDS)
def test_what_is_served_of_it(raw: bytes, size: int, granule: int, first: int, length: int) -> None:
    """Parts, one after the other, that differ, and say of each granule what the bitmap says."""
    bitmap = DirtyBitmap("b", size, granule)
    for change in changes(raw, size):
        bitmap.mark(*change)
    marks = bitmap.serve()
    assert bitmap.busy
    start = first % size
    stop = start + 1 + length % (size - start)
    parts = [*marks.parts(start, stop)]
    assert all(one[1] != other[1] for one, other in pairwise(parts))
    at, expected = start, said(bitmap, granule)
    for length, marked in parts:
        assert length > 0
        for granule_in in range(at // granule, -(-(at + length) // granule)):
            assert (granule_in in expected) == marked
        at += length
    assert at == stop
    bitmap.unserve()
    assert not bitmap.busy
