"""Files that are no raw images, however their names end, are told apart and not written to."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import re
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.raw import RawImage
from bimetal.backends.block.signatures import recognise
from bimetal.base.errors import BimetalError, ExitCode
from tests.host import need, programs

MIB = 1 << 20
CONTENT = bytes(range(256)) * 4096
"""The bytes of the disk that is in every file here."""


def tar_of(name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


def zip_of(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("disk.raw", data)
    return buffer.getvalue()


FILES: dict[str, tuple[bytes, str]] = {
    "vmdk": (b"KDMV\3\0\0\0", "looks like vmdk"),
    "vmdk of ESX": (b"COWD\1\0\0\0", "looks like vmdk"),
    "vmdk, seSparse": (bytes.fromhex("bebafeca000000000100000002000000"), "looks like vmdk"),
    "vmdk, description": (b"# Disk DescriptorFile\nversion=1\n", "looks like vmdk"),
    "vdi": (b"<<< Oracle VM VirtualBox Disk Image >>>\n".ljust(64, b"\0") + b"\x7f\x10\xda\xbe",
            "looks like vdi"),
    "vhd, dynamic": (b"conectix\0\0\0\2\0\1\0\0", "looks like vpc"),
    "vhd, fixed": (bytes(4096) + b"conectix\0\0\0\2".ljust(512, b"\0"), "looks like vpc"),
    "vhd, old": (bytes(4096) + b"conectix\0\0\0\2".ljust(511, b"\0"), "looks like vpc"),
    "vhdx": (b"vhdxfile", "looks like vhdx"),
    "qed": (b"QED\0", "a QED image"),
    "qcow": (b"QFI\xfb\0\0\0\1", "an old qcow image"),
    "parallels": (b"WithoutFreeSpace", "a Parallels image"),
    "parallels, later": (b"WithouFreSpacExt", "a Parallels image"),
    "dmg": (bytes(4096) + b"koly\0\0\0\4".ljust(512, b"\0"), "a DMG image"),
    "bochs": (b"Bochs Virtual HD Image", "a Bochs image"),
    "android": (bytes.fromhex("3aff26ed01000000"), "a sparse image of Android"),
    "gz": (gzip.compress(CONTENT), "compressed with gzip"),
    "bz2": (bz2.compress(CONTENT), "compressed with bzip2"),
    "bz2 of nothing": (bz2.compress(b""), "compressed with bzip2"),
    "xz": (lzma.compress(CONTENT), "compressed with xz"),
    "lzma": (lzma.compress(CONTENT, lzma.FORMAT_ALONE), "compressed with lzma"),
    "zst": (bytes.fromhex("28b52ffd"), "compressed with zstd"),
    "zst, skippable": (bytes.fromhex("5d2a4d1804000000"), "compressed with zstd"),
    "Z": (b"\x1f\x9d\x90", "compressed with compress"),
    "lrz": (b"LRZI\0\6", "compressed with lrzip"),
    "wim": (b"MSWIM\0\0\0", "a WIM archive"),
    "EnCase": (b"EVF\x09\x0d\x0a\xff\0", "an EnCase image"),
    "lz4": (bytes.fromhex("04224d18"), "compressed with lz4"),
    "lz": (b"LZIP\1", "compressed with lzip"),
    "lzo": (b"\x89LZO\0\r\n\x1a\n", "compressed with lzop"),
    "zip": (zip_of(CONTENT), "a zip archive"),
    "7z": (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    "rar": (b"Rar!\x1a\7\1\0", "a rar archive"),
    "ova": (tar_of("machine.ovf"), "an OVA archive"),
    "html": (b"\n<!DOCTYPE html>\n<html>", "a web page"),
    "html, marked": (b"\xef\xbb\xbf<!DOCTYPE html>\n<html>", "a web page"),
    "an error in XML": (b"<Error><Code>AccessDenied</Code>", "a text in XML"),
    "xml": (b'<?xml version="1.0"?>\n<Error>', "a text in XML"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
}  # fmt: skip


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_what_is_no_raw_image_is_named_and_stays_as_it_is(
    tmp_path: Path, name: str, readonly: bool
) -> None:
    data, what = FILES[name]
    path = tmp_path / "disk.img"
    path.write_bytes(data)
    with pytest.raises(BimetalError, match=re.escape(what)) as caught:
        open_disk(str(path), readonly=readonly)
    read_if_said = what.startswith("looks like")
    assert caught.value.exit_code == (ExitCode.USAGE if read_if_said else ExitCode.DATA)
    assert "format=raw" in caught.value.remedy
    assert path.read_bytes() == data
    assert os.listxattr(path) == []


@pytest.mark.parametrize("name", FILES)
def test_it_is_raw_if_the_user_says_so(tmp_path: Path, name: str) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(FILES[name][0])
    with contextlib.closing(open_disk(str(path), format="raw", readonly=True)) as disk:
        assert isinstance(disk, RawImage)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(512),
        b"\xeb\x63\x90".ljust(510, b"\0") + b"\x55\xaa",
        b"hsqs",
        b"LUKS\xba\xbe\0\2",
        b"BZh9 is how this text begins",
        b"]\0\0 is no compressed file",
        tar_of("disk.raw"),
        b"\x7fELF\2\1\1",
    ],
    ids=["empty", "zeroes", "MBR", "squashfs", "LUKS", "text", "bracket", "tar", "ELF"],
)
def test_what_guests_keep_on_disks_is_raw(data: bytes) -> None:
    assert recognise(data[:512], data[-512:]) is None


@pytest.mark.parametrize(
    ("name", "remedy", "what"),
    [
        ("gz", "gzip -dc", "compressed with"),
        ("vdi", "format=vdi", "is a VDI image"),
        ("qcow", "convert -f qcow ", "an old qcow image"),
    ],
)
def test_what_is_another_format_is_no_qcow2_for_its_name(
    tmp_path: Path, name: str, remedy: str, what: str
) -> None:
    path = tmp_path / "disk.qcow2"
    path.write_bytes(FILES[name][0])
    with pytest.raises(BimetalError, match=what) as caught:
        open_disk(str(path))
    assert remedy in caught.value.remedy


# Remedies: each is carried out


def carry_out(error: BimetalError, folder: Path) -> Path:
    """Run the command that ``error`` advises; the file that it has made."""
    command = re.search(
        r"((?:qemu-img|gzip|bzip2|xz|zstd|lz4|unzip|tar) .*?)(, and give|$)", error.remedy
    )
    assert command is not None, error.remedy
    before = set(folder.iterdir())
    subprocess.run(command[1], shell=True, cwd=folder, check=True, capture_output=True)
    (made,) = set(folder.iterdir()) - before
    return made


def content(path: Path) -> bytes:
    with contextlib.closing(open_disk(str(path), readonly=True)) as disk:
        return disk.read(0, disk.size)


needs_qemu = programs("qemu-img")


@needs_qemu
@pytest.mark.parametrize(
    "format",
    ["qed", "qcow", "parallels"],
)
def test_images_of_other_formats_are_told_how_to_be_converted(tmp_path: Path, format: str) -> None:
    source = tmp_path / "source.raw"
    source.write_bytes(CONTENT)
    path = tmp_path / "a disk.img"
    command = ["qemu-img", "convert", "-f", "raw", "-O", format, str(source), str(path)]
    subprocess.run(command, check=True)
    (tmp_path / "a disk.qcow2").write_text("keep me")
    with pytest.raises(BimetalError, match="which is not read") as caught:
        open_disk(str(path))
    made = carry_out(caught.value, tmp_path)
    assert made.name == "a disk-2.qcow2", "no other file is written over"
    assert content(made)[:MIB] == CONTENT
    assert not any(content(made)[MIB:]), "some formats have whole cylinders"


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


@pytest.mark.parametrize("suffix", ["", ".img", ".img.gz", ".img.xz"])
@pytest.mark.parametrize("program", PACKERS)
def test_compressed_images_are_told_how_to_be_unpacked(
    tmp_path: Path, program: str, suffix: str
) -> None:
    need(program)
    path = tmp_path / f"disk{suffix}"
    path.write_bytes(PACKERS[program](CONTENT))
    with pytest.raises(BimetalError, match="compressed with") as caught:
        open_disk(str(path))
    made = carry_out(caught.value, tmp_path)
    assert content(made) == CONTENT
    assert made.suffix in (".raw", ".img")


@programs("unzip")
def test_archives_are_told_how_to_be_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "disk.zip"
    path.write_bytes(zip_of(CONTENT))
    with pytest.raises(BimetalError, match="a zip archive") as caught:
        open_disk(str(path))
    assert content(carry_out(caught.value, tmp_path)) == CONTENT
