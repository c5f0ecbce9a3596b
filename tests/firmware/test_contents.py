"""What is in a file, read where it is needed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bimetal.base.errors import BimetalError
from bimetal.firmware.contents import FileContents
from bimetal.firmware.memory_room import MemoryRoom
from bimetal.firmware.program import Program, Segment
from bimetal.memory.ram import Ram
from bimetal.memory.space import AddressSpace

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "kernel"
    path.write_bytes(CONTENT)
    return path


def contents_of(path: Path) -> FileContents:
    contents = FileContents.of(str(path), f"the kernel {path}")
    assert contents is not None
    return contents


def test_it_is_read_like_bytes(path: Path) -> None:
    contents = contents_of(path)
    assert len(contents) == len(CONTENT)
    assert bytes(contents) == CONTENT
    for part in (slice(0, 64), slice(10_000, 20_000), slice(20_000, 30_000), slice(7, 3)):
        assert contents[part] == CONTENT[part]


def test_it_is_put_into_memory(path: Path) -> None:
    ram, space = Ram("ram", 1 << 20), AddressSpace()
    space.add_memory(ram, 0x8000_0000)
    segment = Segment(0x8000_1000, contents_of(path), len(CONTENT) + 4096)
    Program("kernel", (segment,), 0x8000_1000).load(MemoryRoom(space, 0x8000_0000))
    loaded = bytes(ram.bytes)
    assert loaded == CONTENT.rjust(0x1000 + len(CONTENT), b"\0").ljust(1 << 20, b"\0")


def test_a_file_that_becomes_shorter_is_an_error(path: Path) -> None:
    contents = contents_of(path)
    os.truncate(path, 5000)
    with pytest.raises(BimetalError, match="became shorter"):
        contents.read_into(memoryview(bytearray(len(CONTENT))))
    with pytest.raises(BimetalError, match="became shorter"):
        contents[4990:5010]
    assert contents[4990:5000] == CONTENT[4990:5000]


def test_the_file_is_open_as_long_as_it_is_used(path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    contents = contents_of(path)
    assert len(os.listdir("/proc/self/fd")) == len(before) + 1
    del contents
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_what_has_no_contents_of_a_size_is_left_to_others(path: Path, tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    (tmp_path / "huge").touch()
    os.truncate(tmp_path / "huge", (2 << 30) + 1)
    for name in ("pipe", "empty", "huge", "missing", "."):
        assert FileContents.of(str(tmp_path / name), "the kernel") is None
    assert FileContents.of("/dev/zero", "the kernel") is None
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_pipe_is_not_opened_whose_writer_would_lose_its_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe, opened = tmp_path / "pipe", list[str]()
    os.mkfifo(pipe)
    monkeypatch.setattr(os, "open", lambda path, flags: opened.append(path))
    assert FileContents.of(str(pipe), "the kernel") is None
    assert not opened
