"""Backing files: as the header names them, in the format that it says, and no others."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bimetal.backends.block.chain import CHAIN_LIMIT
from bimetal.backends.block.choose import open_disk
from bimetal.base.errors import BimetalError, ExitCode
from tests.backends.block.images import write_qcow2
from tests.host import have, programs

MIB = 1 << 20

needs_qemu = programs("qemu-img")


def read(path: Path) -> bytes:
    with contextlib.closing(open_disk(str(path), readonly=True)) as disk:
        return disk.read(0, disk.size)


def refused(path: Path, *, readonly: bool = False, snapshot: bool = False) -> BimetalError:
    """Why the image at ``path`` is not opened; nothing is left open."""
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(BimetalError) as caught:
        open_disk(str(path), readonly=readonly, snapshot=snapshot)
    assert len(os.listdir("/proc/self/fd")) == before
    assert caught.value.remedy
    return caught.value


def carry_out(error: BimetalError, folder: Path, **changes: str) -> None:
    """Run the command that ``error`` advises, with words of it changed."""
    found = re.search(r"qemu-img .*?(?= \(or |$)", error.remedy)
    assert found is not None, error.remedy
    command = found[0]
    for old, new in changes.items():
        assert old in command
        command = command.replace(old, new)
    subprocess.run(command, shell=True, cwd=folder, check=True, capture_output=True)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A raw image with something in it."""
    path = tmp_path / "base.img"
    path.write_bytes(b"\xab" * MIB)
    return path


# Where it is


def test_names_count_from_the_folder_of_the_image(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    relative = write_qcow2(tmp_path / "sub" / "a.qcow2", "../base.img", "raw")
    absolute = write_qcow2(tmp_path / "sub" / "b.qcow2", str(base), "raw")
    colon = write_qcow2(tmp_path / "sub" / "c.qcow2", "./a:b.img", "raw")
    shutil.copy(base, tmp_path / "sub" / "a:b.img")
    monkeypatch.setenv("BIMETAL_BACKING_FOLDERS", str(tmp_path))
    for folder in (tmp_path, tmp_path / "sub"):
        monkeypatch.chdir(folder)
        for path in (relative, absolute, colon):
            assert read(path) == b"\xab" * MIB
            assert read(Path(os.path.relpath(path))) == b"\xab" * MIB


@pytest.mark.parametrize(
    "name",
    [
        "nbd://localhost/x", "nbd:unix:/socket", "json:{'driver':'raw'}", "file:base.img",
        "https://example.org/x.img", "host_device:/dev/sda", "ssh://x/y", "fat:rw:/etc", "a:b.img",
    ],
)  # fmt: skip
def test_what_is_no_path_is_refused(tmp_path: Path, base: Path, name: str) -> None:
    path = write_qcow2(tmp_path / "disk.qcow2", name, "raw")
    error = refused(path)
    assert repr(name) in error.cause
    assert "not the path of a file" in error.cause
    assert error.exit_code == ExitCode.DATA
    if have("qemu-img"):
        carry_out(error, tmp_path, PATH="base.img")
        assert read(path) == b"\xab" * MIB


def test_a_missing_one_is_named_with_the_image_that_needs_it(tmp_path: Path, base: Path) -> None:
    path = write_qcow2(tmp_path / "disk.qcow2", "base.img", "raw")
    base.rename(tmp_path / "elsewhere.img")
    for options in ({}, {"readonly": True}, {"snapshot": True}):
        error = refused(path, **options)
        assert str(path) in error.cause
        assert str(base) in error.cause
        assert "truncate" not in error.remedy, "an empty image there would be the worst of all"
        assert error.exit_code == ExitCode.NO_INPUT
    if have("qemu-img"):
        carry_out(error, tmp_path, NEW_PLACE="elsewhere.img")
        assert read(path) == b"\xab" * MIB


@pytest.mark.parametrize("link", ["no", "symbolic", "hard"])
def test_no_image_lies_on_itself(tmp_path: Path, link: str) -> None:
    first = write_qcow2(tmp_path / "a.qcow2", "b.qcow2", "qcow2")
    if link == "symbolic":
        (tmp_path / "b.qcow2").symlink_to(first)
    elif link == "hard":
        (tmp_path / "b.qcow2").hardlink_to(first)
    else:
        write_qcow2(tmp_path / "b.qcow2", "a.qcow2", "qcow2")
    assert "lies on itself" in refused(first, readonly=True).cause
    assert "lies on itself" in refused(first).cause


def test_chains_have_an_end(tmp_path: Path) -> None:
    (tmp_path / "0.qcow2").write_bytes(write_qcow2(tmp_path / "x").read_bytes())
    for number in range(1, CHAIN_LIMIT + 2):
        write_qcow2(tmp_path / f"{number}.qcow2", f"{number - 1}.qcow2", "qcow2")
    assert read(tmp_path / f"{CHAIN_LIMIT}.qcow2") == bytes(MIB)
    error = refused(tmp_path / f"{CHAIN_LIMIT + 1}.qcow2")
    assert f"more than {CHAIN_LIMIT} images lie on each other" in error.cause
    if have("qemu-img"):
        carry_out(error, tmp_path)
        assert read(tmp_path / "NEW.qcow2") == bytes(MIB)


def test_a_name_does_not_drive_the_terminal(tmp_path: Path) -> None:
    path = write_qcow2(tmp_path / "disk.qcow2", b"\x1b]0;title\x07;rm \xff'", "vmdk")
    error = refused(path)
    assert str(error).isprintable()
    missing = write_qcow2(tmp_path / "a\nb.qcow2", b"\x1b[2J\x9b", "raw")
    assert str(refused(missing)).isprintable()


# Which format it has


def test_one_without_a_format_is_not_guessed(tmp_path: Path, base: Path) -> None:
    path = write_qcow2(tmp_path / "disk.qcow2", "base.img")
    error = refused(path)
    assert "does not say which format its backing file 'base.img' has" in error.cause
    if have("qemu-img"):
        carry_out(error, tmp_path)
        assert read(path) == b"\xab" * MIB


def test_a_raw_one_is_raw_whatever_it_looks_like(tmp_path: Path, base: Path) -> None:
    """A guest has written to it, say, before it became a backing file."""
    path = write_qcow2(tmp_path / "disk.qcow2", "base.img", "raw")
    for name in ("base.img", "base.qcow2"):
        write_qcow2(path, name, "raw")
        for data in (b"conectix", write_qcow2(tmp_path / "x", "/etc/passwd", "raw").read_bytes()):
            (tmp_path / name).write_bytes(data.ljust(MIB, b"\0"))
            assert read(path)[: len(data)] == data


def test_a_raw_one_that_is_said_to_be_qcow2(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIMETAL_BACKING_FOLDERS", f"/nowhere:{tmp_path}")
    (tmp_path / "sub").mkdir()
    path = write_qcow2(tmp_path / "sub" / "disk.qcow2", "../base.img", "qcow2")
    error = refused(path)
    assert "on which" in error.cause
    assert "does not begin like one" in error.cause
    if have("qemu-img"):
        carry_out(error, tmp_path)
        assert read(path) == b"\xab" * MIB


@needs_qemu
@pytest.mark.parametrize("format", ["qed", "qcow", "parallels"])
def test_one_of_another_format_is_converted(tmp_path: Path, base: Path, format: str) -> None:
    other = tmp_path / "sub" / "other.img"
    other.parent.mkdir()
    command = ["qemu-img", "convert", "-f", "raw", "-O", format, str(base), str(other)]
    subprocess.run(command, check=True)
    path = write_qcow2(tmp_path / "disk.qcow2", "sub/other.img", format)
    error = refused(path)
    assert f"of the format {format}" in error.cause
    carry_out(error, tmp_path)
    assert read(path) == b"\xab" * MIB


def test_one_of_an_unknown_format(tmp_path: Path, base: Path) -> None:
    path = write_qcow2(tmp_path / "disk.qcow2", "base.img", "elbow")
    error = refused(path)
    assert "'elbow'" in error.cause
    if have("qemu-img"):
        carry_out(error, tmp_path)
        assert read(path) == b"\xab" * MIB


# What else may be wrong with it


def test_one_that_ends_inside_a_sector(tmp_path: Path, base: Path) -> None:
    base.write_bytes(b"\xab" * 1000)
    path = write_qcow2(tmp_path / "disk.qcow2", "base.img", "raw")
    assert read(path) == (b"\xab" * 1000).ljust(MIB, b"\0")
    with contextlib.closing(open_disk(str(path))) as disk:
        disk.write(512, b"\1" * 512)
        assert disk.read(0, 1024) == b"\xab" * 512 + b"\1" * 512
    assert base.read_bytes() == b"\xab" * 1000


def test_an_empty_one_is_not_filled(tmp_path: Path, base: Path) -> None:
    base.write_bytes(b"")
    error = refused(write_qcow2(tmp_path / "disk.qcow2", "base.img", "raw"))
    assert "is empty" in error.cause
    assert "truncate" not in error.remedy


def test_a_folder_is_none(tmp_path: Path) -> None:
    error = refused(write_qcow2(tmp_path / "disk.qcow2", ".", "raw"))
    assert "on which" in error.cause
    assert "is a folder" in error.cause


def test_one_that_a_machine_writes_to(tmp_path: Path, base: Path) -> None:
    path = write_qcow2(tmp_path / "disk.qcow2", "base.img", "raw")
    with contextlib.closing(open_disk(str(base))):
        error = refused(path)
        assert "in use" in error.cause
    assert read(path) == b"\xab" * MIB
