"""The cpio writer: field by field, and as cpio(1) reads it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimetal.catalogue.newc import Archive
from tests.host import programs


def parse(data: bytes) -> dict[str, tuple[int, bytes, tuple[int, int]]]:
    """Mode, data and device of each entry; asserts what the format demands."""
    entries: dict[str, tuple[int, bytes, tuple[int, int]]] = {}
    at = 0
    while True:
        header = data[at : at + 110]
        assert header[:6] == b"070701"
        assert at % 4 == 0
        field = [int(header[6 + 8 * n : 14 + 8 * n], 16) for n in range(13)]
        mode, size, device, name_size = field[1], field[6], (field[9], field[10]), field[11]
        name = data[at + 110 : at + 110 + name_size]
        assert name.endswith(b"\0")
        start = (at + 110 + name_size + 3) & ~3
        at = (start + size + 3) & ~3
        if name == b"TRAILER!!!\0":
            assert len(data) % 512 == 0
            assert not any(data[at:])
            return entries
        entries[name[:-1].decode()] = (mode, data[start : start + size], device)


def example() -> Archive:
    archive = Archive()
    archive.file("init", b"#!/bin/sh\n", 0o755)
    archive.file("lib/modules/6.12/a.ko", b"module")
    archive.link("bin/sh", "busybox")
    archive.character_device("dev/console", 5, 1)
    archive.folder("tmp", 0o1777)
    return archive


def test_what_is_added_is_there() -> None:
    assert parse(example().to_bytes()) == {
        "bin": (0o040755, b"", (0, 0)),
        "bin/sh": (0o120777, b"busybox", (0, 0)),
        "dev": (0o040755, b"", (0, 0)),
        "dev/console": (0o020600, b"", (5, 1)),
        "init": (0o100755, b"#!/bin/sh\n", (0, 0)),
        "lib": (0o040755, b"", (0, 0)),
        "lib/modules": (0o040755, b"", (0, 0)),
        "lib/modules/6.12": (0o040755, b"", (0, 0)),
        "lib/modules/6.12/a.ko": (0o100644, b"module", (0, 0)),
        "tmp": (0o041777, b"", (0, 0)),
    }


def test_a_folder_comes_before_what_is_in_it() -> None:
    names = list(parse(example().to_bytes()))
    for name in names:
        above = str(Path(name).parent)
        assert above == "." or names.index(above) < names.index(name)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=9), st.binary(max_size=40)))
def test_any_content_comes_back(content: dict[str, bytes]) -> None:
    archive = Archive()
    for name, data in content.items():
        archive.file(name, data)
    assert {name: entry[1] for name, entry in parse(archive.to_bytes()).items()} == content


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../b", "", "."])
def test_a_path_that_leaves_the_archive_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="no path inside an archive"):
        Archive().file(path, b"")


@programs("cpio")
def test_cpio_lists_it() -> None:
    listing = subprocess.run(
        ["cpio", "-tv", "--quiet"], input=example().to_bytes(), capture_output=True, check=True
    ).stdout.decode()
    assert "bin/sh -> busybox" in listing
    assert "5,   1" in listing
    assert "-rwxr-xr-x" in listing
