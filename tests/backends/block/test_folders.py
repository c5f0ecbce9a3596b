"""Where the files may lie that an image names."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from pathlib import Path

import pytest

from bimetal.backends.block.choose import open_disk
from bimetal.base.errors import BimetalError, ExitCode
from tests.backends.block.images import write_qcow2

MIB = 1 << 20


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file that lies in none of the folders of images."""
    (folder := tmp_path / "a secret place").mkdir()
    path = folder / "base.img"
    path.write_bytes(b"\x5e" * MIB)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the image."""
    path = tmp_path / "images"
    path.mkdir()
    return path


def first_byte(path: Path, folders: tuple[str, ...] = ()) -> int:
    with contextlib.closing(open_disk(str(path), readonly=True, folders=folders)) as disk:
        return disk.read(0, 1)[0]


def refused(path: Path) -> BimetalError:
    with pytest.raises(BimetalError, match="lies outside of its folder") as caught:
        open_disk(str(path), readonly=True)
    assert caught.value.exit_code == ExitCode.NO_PERMISSION
    return caught.value


def overlay(folder: Path, name: str) -> Path:
    return write_qcow2(folder / "disk.qcow2", name, "raw")


@pytest.mark.parametrize("how", ["absolute", "above", "link", "folder that is a link"])
def test_no_image_leads_out_of_its_folder(folder: Path, secret: Path, how: str) -> None:
    name = {"absolute": str(secret), "above": "../a secret place/base.img"}.get(how, "in/base.img")
    if how == "link":
        (folder / "in").mkdir()
        (folder / "in" / "base.img").symlink_to(secret)
    elif how == "folder that is a link":
        (folder / "in").symlink_to(secret.parent)
    error = refused(overlay(folder, name))
    allowed = re.search(r"--backing-folder (.*?), or", error.remedy)
    assert allowed is not None
    assert shlex.split(allowed[1]) == [str(secret.parent)]


@pytest.mark.parametrize("named", [".", "..", "/"])
def test_unless_the_user_allows_it(
    folder: Path, secret: Path, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = overlay(folder, str(secret))
    allowed = os.path.normpath(secret.parent / named)
    assert first_byte(path, (str(folder), allowed)) == 0x5E
    monkeypatch.setenv("BIMETAL_BACKING_FOLDERS", f":/nowhere:{allowed}")
    assert first_byte(path) == 0x5E
    monkeypatch.chdir(secret.parent)
    monkeypatch.setenv("BIMETAL_BACKING_FOLDERS", "")
    refused(path)  # an empty name is not the present folder


def test_a_name_that_begins_alike_is_another_folder(tmp_path: Path, folder: Path) -> None:
    other = tmp_path / "images-of-others"
    other.mkdir()
    (other / "base.img").write_bytes(bytes(MIB))
    refused(overlay(folder, "../images-of-others/base.img"))


@pytest.mark.parametrize("name", ["base.img", "below/it/base.img", "below/../base.img"])
def test_its_folder_and_those_below_are_allowed(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "below" / "it").mkdir(parents=True)
    (folder / name).write_bytes(b"\x5e" * MIB)
    path = overlay(folder, name)
    assert first_byte(path) == 0x5E
    monkeypatch.chdir(folder)
    assert first_byte(Path("disk.qcow2")) == 0x5E
    assert first_byte(overlay(folder, str(folder / name))) == 0x5E


def test_an_image_that_is_reached_by_a_link_has_two_folders(folder: Path, secret: Path) -> None:
    link = secret.parent / "link.qcow2"
    link.symlink_to(overlay(folder, str(folder / "base.img")))
    (folder / "base.img").write_bytes(b"\x5e" * MIB)
    assert first_byte(link) == 0x5E, "by the image's own folder"
    link.unlink()
    link.symlink_to(overlay(folder, "base.img"))
    assert first_byte(link) == 0x5E, "by the folder of the link, where names count from"


def test_so_it_is_all_the_way_down(folder: Path, secret: Path) -> None:
    write_qcow2(folder / "middle.qcow2", str(secret), "raw")
    path = write_qcow2(folder / "disk.qcow2", "middle.qcow2", "qcow2")
    assert "middle.qcow2" in refused(path).cause
    assert first_byte(path, (str(secret.parent),)) == 0x5E


def test_parts_of_a_disk_lie_there_too(folder: Path, secret: Path) -> None:
    path = folder / "disk.vmdk"
    path.write_text(f'# Disk DescriptorFile\nRW 8 FLAT "{secret}" 0\n')
    refused(path)
    assert first_byte(path, (str(secret.parent),)) == 0x5E
