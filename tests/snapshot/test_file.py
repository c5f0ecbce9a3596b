"""Snapshot files: what is in them, and what becomes of those that somebody has changed."""

import os
import random
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.memory.contents import Stretch
from bimetal.memory.ram import PAGE_SIZE, Ram
from bimetal.snapshot.checksum import crc32
from bimetal.snapshot.layout import HEADER
from bimetal.snapshot.reader import Reader
from bimetal.snapshot.runs import unpack_runs
from bimetal.snapshot.writer import Writer

PAGES = 400
"""More than a block of them."""

MANIFEST = {"machine": {"board": "none"}, "state": [1, 2, 3]}


@pytest.fixture
def ram() -> Iterator[Ram]:
    """Memory with pages of noise, of which some are alike, and of nothing."""
    ram = Ram("ram", PAGES * PAGE_SIZE)
    dice = random.Random(7)
    for page in range(PAGES):
        if page % 5:
            noise = random.Random(dice.randrange(310)).randbytes(PAGE_SIZE)
            ram.bytes[page * PAGE_SIZE : (page + 1) * PAGE_SIZE] = noise
    yield ram
    ram.close()


def write(path: Path, ram: Ram, *, compress: bool = False) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    writer = Writer(fd, compress=compress)
    writer.add("ram", ram.size, ram.contents())
    area = Stretch(memoryview(bytearray(b"\xff" * 3 * PAGE_SIZE)))
    writer.add("flash", area.size, area.contents())
    writer.finish(MANIFEST)
    os.close(fd)


def read(path: Path, pages: int = PAGES) -> bytes:
    """What the areas of a snapshot hold; memory is mapped, the rest copied."""
    with Reader(str(path)) as reader:
        reader.check()
        other = Ram("ram", pages * PAGE_SIZE)
        flash = Stretch(memoryview(bytearray(3 * PAGE_SIZE)))
        reader.map_into("ram", other)
        reader.copy_into("flash", flash)
        held = bytes(other.bytes) + bytes(flash.memory)
        other.close()
    return held


@pytest.mark.parametrize("compress", [False, True])
def test_memory_comes_back_and_takes_no_more_than_it_has(
    compress: bool, ram: Ram, tmp_path: Path
) -> None:
    path = tmp_path / "snapshot"
    write(path, ram, compress=compress)
    assert read(path) == bytes(ram.bytes) + b"\xff" * 3 * PAGE_SIZE
    contents = {bytes(ram.bytes[n * PAGE_SIZE :][:PAGE_SIZE]) for n in range(PAGES)}
    stored = (len(contents - {bytes(PAGE_SIZE)}) + 1) * PAGE_SIZE
    assert path.stat().st_size < HEADER + stored + 60_000
    with Reader(str(path)) as reader:
        assert reader.areas == {"ram": ram.size, "flash": 3 * PAGE_SIZE}
        assert {name: reader.manifest[name] for name in MANIFEST} == MANIFEST


def test_mapped_memory_is_its_own(ram: Ram, tmp_path: Path) -> None:
    """What is written to it stays out of the file, and it outlives the file; once it is cleared it
    is zeroes, not the file again."""
    path = tmp_path / "snapshot"
    write(path, ram)
    before = path.read_bytes()
    other = Ram("ram", ram.size)
    with Reader(str(path)) as reader:
        reader.map_into("ram", other)
    other.bytes[PAGE_SIZE : PAGE_SIZE + 5] = b"hello"
    assert path.read_bytes() == before
    path.unlink()
    expected = bytearray(ram.bytes)
    expected[PAGE_SIZE : PAGE_SIZE + 5] = b"hello"
    assert other.bytes == expected
    again = dict(other.contents())
    assert len(again) == PAGES - PAGES // 5
    assert again[1][:5] == b"hello"
    other.clear()
    assert not any(other.bytes)
    other.close()


@pytest.mark.parametrize("compress", [False, True])
def test_what_fills_many_pages_in_a_row_takes_few_runs(compress: bool, tmp_path: Path) -> None:
    """There as a row of some length, which is mapped again and again."""
    path, ram = tmp_path / "snapshot", Ram("ram", 4096 * PAGE_SIZE)
    page = bytes([7]) * PAGE_SIZE
    for first, count in ((0, 1), (3, 700), (1000, 2000), (4000, 30)):
        ram.bytes[first * PAGE_SIZE : (first + count) * PAGE_SIZE] = page * count
    other = bytes([8]) * PAGE_SIZE
    ram.bytes[3000 * PAGE_SIZE : 3300 * PAGE_SIZE] = other * 300
    write(path, ram, compress=compress)
    assert read(path, 4096) == bytes(ram.bytes) + b"\xff" * 3 * PAGE_SIZE
    with Reader(str(path)) as reader:
        runs = unpack_runs(reader.manifest["areas"]["ram"]["pages"], 4096, 1 << 20)
    assert len(runs) < 50
    assert path.stat().st_size < 600 * PAGE_SIZE
    ram.close()


def test_checksums_are_those_of_zip_files() -> None:
    """Whichever library computes them: zlib's, with the check value of the catalogue of CRCs."""
    noise = random.Random(3).randbytes(100_001)
    assert crc32(noise) == zlib.crc32(noise)
    assert crc32(memoryview(noise)[1:]) == zlib.crc32(noise[1:])
    assert crc32(b"123456789") == 0xCBF43926


@pytest.mark.parametrize("compress", [False, True])
def test_every_byte_counts(compress: bool, ram: Ram, tmp_path: Path) -> None:
    """A file that differs in one bit is refused: nothing in it means nothing."""
    path = tmp_path / "snapshot"
    write(path, ram, compress=compress)
    whole = path.read_bytes()
    dice = random.Random(5)
    places = [*range(0, 100, 2), *(dice.randrange(len(whole)) for _ in range(60)), len(whole) - 1]
    places += [dice.randrange(100, HEADER) for _ in range(20)]
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 1 << dice.randrange(8)
        path.write_bytes(changed)
        assert attempt(path) is None, place


def attempt(path: Path) -> bytes | None:
    """What the areas of a snapshot hold, None if it is refused as damaged."""
    try:
        return read(path)
    except BimetalError as error:
        return None if error.exit_code == ExitCode.DATA and error.remedy else b""


def test_a_file_that_ends_too_early_is_refused(ram: Ram, tmp_path: Path) -> None:
    path = tmp_path / "snapshot"
    write(path, ram)
    whole = path.read_bytes()
    for length in (0, 7, 8, 40, 4095, 4096, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(BimetalError, match=r"is damaged|is no snapshot"):
            read(path)


def test_a_file_system_may_give_less_than_was_asked_for(
    ram: Ram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As read(2) allows, and 9p does where a request is too large for it."""
    path = tmp_path / "snapshot"
    write(path, ram)
    whole, real = read(path), os.preadv

    def some(fd: int, buffers: list[memoryview], offset: int) -> int:
        return real(fd, [buffers[0][:1000]], offset)

    path.touch()  # it was found sound as it was
    monkeypatch.setattr(os, "preadv", some)
    assert read(path) == whole


def test_an_unknown_version_is_named(ram: Ram, tmp_path: Path) -> None:
    path = tmp_path / "snapshot"
    write(path, ram)
    whole = bytearray(path.read_bytes())
    whole[8] = 77
    path.write_bytes(whole)
    with pytest.raises(BimetalError, match=r"has version 77 of the format.*version 1"):
        Reader(str(path))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "is not a file"),
        (lambda path: path.write_bytes(b"QFI\xfb" * 2000), "is no snapshot of a machine"),
        (lambda path: os.mkfifo(path), "is not a file"),
    ],
)
def test_what_is_no_snapshot_is_refused(make: object, why: str, tmp_path: Path) -> None:
    path = tmp_path / "snapshot"
    assert callable(make)
    make(path)
    with pytest.raises(BimetalError, match=why):
        Reader(str(path))


def test_the_first_page_of_the_first_area_counts(tmp_path: Path) -> None:
    ram = Ram("ram", PAGES * PAGE_SIZE)
    ram.bytes[: 3 * PAGE_SIZE] = b"abc" * PAGE_SIZE
    write(tmp_path / "snapshot", ram)
    assert read(tmp_path / "snapshot")[: ram.size] == bytes(ram.bytes)
    ram.close()


def test_a_disk_that_is_full_is_an_error(ram: Ram) -> None:
    def write_all(writer: Writer) -> None:
        writer.add("ram", ram.size, ram.contents())
        writer.finish(MANIFEST)

    fd = os.open("/dev/full", os.O_RDWR)
    with Writer(fd) as writer, pytest.raises(OSError, match="No space left"):
        write_all(writer)
    os.close(fd)
