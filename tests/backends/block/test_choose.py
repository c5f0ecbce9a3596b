"""Which format an image has: said, named, or raw; and what a hostile guest can do about it."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

import pytest

from bimetal.backends.block.block import Block
from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.guarded import GuardedRawImage
from bimetal.backends.block.qcow2.image import Qcow2Image
from bimetal.backends.block.raw import RawImage
from bimetal.base.errors import BimetalError, ExitCode
from tests.backends.block.images import qcow2_bytes, write_qcow2

MIB = 1 << 20

BEGINNINGS = {
    "the magic number of qcow2": b"QFI\xfb",
    "an image of qcow2": qcow2_bytes(backing=b"/etc/shadow", backing_format=b"raw"),
    "VMDK": b"KDMV\1\0\0\0",
    "a description of VMDK": b'# Disk DescriptorFile\nversion=1\nRW 1 FLAT "/etc/shadow" 0\n',
    "VDI": b"\0" * 64 + b"\x7f\x10\xda\xbe",
    "gzip": b"\x1f\x8b\x08\0",
}
"""What a guest may write into its first sectors."""


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A raw image of zeroes, and a file system that keeps what is written down of it."""
    path = tmp_path / "disk.img"
    path.touch()
    os.truncate(path, MIB)
    try:
        os.setxattr(path, "user.bimetal.test", b"1")
    except OSError:
        pytest.skip("no extended attributes here")
    return str(path)


@pytest.fixture
def forgetful(path: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same on a file system that keeps no attributes."""

    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(os, "setxattr", unsupported)
    monkeypatch.setattr(os, "getxattr", unsupported)
    return path


def sectors(data: bytes) -> bytes:
    return data.ljust(-(-len(data) // 512) * 512, b"\0")


def write(path: str, data: bytes, **options: str) -> None:
    """Have a guest write ``data`` to the beginning of its disk."""
    with contextlib.closing(open_disk(path, format=options.get("format"))) as disk:
        disk.write(0, sectors(data))
        disk.flush()


def kind_of(path: str, **options: str) -> type[Block]:
    disk = open_disk(path, format=options.get("format"))
    disk.close()
    return type(disk)


# What is said and what is named


def test_the_format_is_that_of_the_name_or_what_is_said(tmp_path: Path, path: str) -> None:
    assert kind_of(path) is RawImage
    named = str(write_qcow2(tmp_path / "disk.qcow2"))
    assert kind_of(named) is Qcow2Image
    assert kind_of(named, format="qcow2") is Qcow2Image
    other = str(write_qcow2(tmp_path / "other.img"))
    assert kind_of(other, format="qcow2") is Qcow2Image
    with contextlib.closing(open_disk(named, format="raw", readonly=True)) as disk:
        assert disk.size == os.path.getsize(named)


@pytest.mark.parametrize("format", ["vhd", "qed", "", "RAW", "auto"])
def test_other_formats_are_refused(path: str, format: str) -> None:
    with pytest.raises(BimetalError, match=f"no image format '{format}'") as caught:
        open_disk(path, format=format)
    assert "raw, qcow2" in caught.value.remedy
    assert caught.value.exit_code == ExitCode.USAGE


def test_what_looks_like_qcow2_is_the_users_choice(tmp_path: Path) -> None:
    path = str(write_qcow2(tmp_path / "disk.img", "/etc/shadow", "raw"))
    before = Path(path).read_bytes()
    for readonly in (False, True):
        with pytest.raises(BimetalError, match="looks like qcow2") as caught:
            open_disk(path, readonly=readonly)
        assert "format=raw" in caught.value.remedy
        assert "format=qcow2" in caught.value.remedy
        assert "'/etc/shadow'" in caught.value.remedy, "what that would read"
        assert "rename" not in caught.value.remedy
    assert Path(path).read_bytes() == before
    assert kind_of(path, format="raw") is RawImage
    assert kind_of(path) is RawImage, "which was said once"


@pytest.mark.parametrize("content", [bytes(4096), b"QFI", b"\x7fELF" * 1024])
@pytest.mark.parametrize("said", [False, True])
def test_what_is_to_be_qcow2_and_is_not(tmp_path: Path, content: bytes, said: bool) -> None:
    path = tmp_path / ("disk.img" if said else "disk.qcow2")
    path.write_bytes(sectors(content))
    with pytest.raises(BimetalError, match="does not begin like one") as caught:
        open_disk(str(path), format="qcow2" if said else None)
    assert "format=raw" in caught.value.remedy
    assert kind_of(str(path), format="raw") is RawImage


@pytest.mark.parametrize("data", [b"QFI\xfb", b"QFI\xfb" * 128, b"QFI\xfb version 3"])
def test_a_magic_number_without_a_version_is_no_qcow2(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(sectors(data))
    assert issubclass(kind_of(str(path)), RawImage)


@pytest.mark.parametrize(("size", "sectors"), [(512, 1), (1000, 1), (MIB - 1, 2047)])
def test_a_qcow2_disk_has_whole_sectors(tmp_path: Path, size: int, sectors: int) -> None:
    path = tmp_path / "disk.qcow2"
    path.write_bytes(qcow2_bytes(size))
    with contextlib.closing(open_disk(str(path))) as disk:
        assert disk.size == sectors * 512
        disk.write(disk.size - 512, b"\1" * 512)
    with contextlib.closing(open_disk(str(path))) as disk:
        assert disk.read(disk.size - 512, 512) == b"\1" * 512
    assert path.read_bytes()[24:32] == size.to_bytes(8, "big")


def test_a_qcow2_disk_has_a_sector_at_least(tmp_path: Path) -> None:
    path = tmp_path / "disk.qcow2"
    path.write_bytes(qcow2_bytes(511))
    with pytest.raises(BimetalError, match="not one sector"):
        open_disk(str(path))


# Guests that write what looks like another format


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_a_raw_disk_stays_raw_whatever_its_guest_writes(path: str, beginning: str) -> None:
    data = BEGINNINGS[beginning]
    write(path, data)
    for _ in range(2):
        with contextlib.closing(open_disk(path)) as disk:
            assert type(disk) is RawImage
            assert disk.size == MIB
            assert disk.read(0, len(data)) == data
    with contextlib.closing(open_disk(path, readonly=True)) as disk:
        assert disk.read(0, len(data)) == data
    with contextlib.closing(open_disk(path, snapshot=True)) as disk:
        assert disk.read(0, len(data)) == data


def test_a_footer_is_content_too(path: str) -> None:
    with contextlib.closing(open_disk(path)) as disk:
        disk.write(MIB - 512, sectors(b"conectix"))
    assert kind_of(path) is RawImage


def test_a_raw_disk_moves_with_what_is_known_of_it(path: str, tmp_path: Path) -> None:
    write(path, qcow2_bytes())
    moved = str(Path(path).rename(tmp_path / "moved.img"))
    assert kind_of(moved) is RawImage


def test_the_name_alone_makes_no_qcow2_image_of_a_raw_disk(path: str, tmp_path: Path) -> None:
    write(path, qcow2_bytes(backing=b"/etc/shadow", backing_format=b"raw"))
    moved = str(Path(path).rename(tmp_path / "disk.qcow2"))
    with pytest.raises(BimetalError, match="was a raw disk before") as caught:
        open_disk(moved)
    assert "'/etc/shadow'" in caught.value.remedy
    assert kind_of(moved, format="raw") is RawImage


def test_nor_does_one_of_another_format(path: str, tmp_path: Path) -> None:
    """Whose description would name files of the host."""
    write(path, b'# Disk DescriptorFile\ncreateType="monolithicFlat"\nRW 1 FLAT "secret" 0\n')
    (tmp_path / "secret").write_bytes(bytes(512))
    moved = str(Path(path).rename(tmp_path / "disk.vmdk"))
    for readonly in (False, True):
        with pytest.raises(BimetalError, match="was a raw disk before, and its name says vmdk"):
            open_disk(moved, readonly=readonly)
    assert kind_of(moved, format="raw") is RawImage


def test_a_file_of_another_size_has_other_content(path: str) -> None:
    assert kind_of(path) is RawImage
    write_qcow2(Path(path))
    with pytest.raises(BimetalError, match="looks like qcow2"):
        open_disk(path)
    assert kind_of(path, format="qcow2") is Qcow2Image


def test_who_says_qcow2_once_is_believed_by_name_again(path: str, tmp_path: Path) -> None:
    image = write_qcow2(tmp_path / "disk.qcow2")
    assert kind_of(str(image), format="raw") is RawImage
    with pytest.raises(BimetalError, match="was a raw disk before"):
        open_disk(str(image))
    assert kind_of(str(image), format="qcow2") is Qcow2Image
    assert kind_of(str(image)) is Qcow2Image


def test_reading_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(4096))
    open_disk(str(path), readonly=True).close()
    open_disk(str(path), snapshot=True).close()
    assert os.listxattr(path) == []


# The same where nothing can be written down


@pytest.mark.parametrize("beginning", [name for name in BEGINNINGS if "magic" not in name])
def test_a_guest_cannot_make_its_disk_look_like_another_format(
    forgetful: str, beginning: str
) -> None:
    data = sectors(BEGINNINGS[beginning])
    with contextlib.closing(open_disk(forgetful)) as disk:
        assert type(disk) is GuardedRawImage
        disk.write(0, b"\1" * 4096)
        with pytest.raises(OSError, match="add format=raw") as caught:
            disk.writev(0, [memoryview(data)[:100], memoryview(data)[100:]])
        assert caught.value.errno == errno.EPERM
        assert disk.read(0, 4096) == b"\1" * 4096, "nothing of it was written"
        disk.write(512, data)
    assert kind_of(forgetful) is GuardedRawImage, "nor is it shut out"
    write(forgetful, data, format="raw")
    assert kind_of(forgetful, format="raw") is RawImage


@pytest.mark.parametrize("size", [512, 1024, MIB])
@pytest.mark.parametrize("whole", [False, True])
def test_nor_by_its_end(forgetful: str, size: int, whole: bool) -> None:
    os.truncate(forgetful, size)
    with contextlib.closing(open_disk(forgetful)) as disk:
        data = sectors(b"conectix").rjust(size if whole else 512, b"\0")
        with pytest.raises(OSError, match="a VHD image"):
            disk.write(size - len(data), data)
    assert Path(forgetful).read_bytes() == bytes(size)


def test_all_else_is_written(forgetful: str) -> None:
    content = os.urandom(MIB)
    with contextlib.closing(open_disk(forgetful)) as disk:
        view = memoryview(content)
        disk.writev(0, [view[:300], view[300:700], view[700:]])
        assert disk.read(0, MIB) == content
        disk.write(1024, b"KDMV")
        disk.write_zeroes(0, 512)
        disk.discard(0, 4096)
        disk.flush()


def test_what_is_checked_is_what_is_written(
    forgetful: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guest's memory changes while another of its CPUs waits for the disk."""
    data = bytearray(4096)
    real = os.pwritev

    def changed_meanwhile(fd: int, buffers: list[memoryview], offset: int) -> int:
        data[:4] = b"KDMV"
        return real(fd, buffers, offset)

    monkeypatch.setattr(os, "pwritev", changed_meanwhile)
    with contextlib.closing(open_disk(forgetful)) as disk:
        disk.writev(0, [memoryview(data)])
    assert Path(forgetful).read_bytes()[:4] == bytes(4)


def test_a_write_that_is_lost_when_that_is_written_down_is_told(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel tells of it once, and a guest that flushes later has to hear of it."""

    def failing(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    image = open_disk(path)
    assert isinstance(image, RawImage)
    image.write(0, bytes(512))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(OSError, match="Input/output error"):
            image.resize(2 * MIB)
    with pytest.raises(OSError, match="an earlier flush failed"):
        image.flush()
    image.close()
