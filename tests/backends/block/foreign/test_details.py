"""What images of other programs may be, and what QEMU does not make."""

from __future__ import annotations

import contextlib
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from bimetal.backends.block.choose import open_disk
from bimetal.backends.block.foreign.crc32c import crc32c
from bimetal.base.errors import BimetalError
from tests.backends.block.foreign.converting import (
    MIB,
    make,
    needs_qemu,
    refusal_of_qemu,
    shown,
)


def refused(path: Path, match: str) -> BimetalError:
    with pytest.raises(BimetalError, match=match) as caught:
        open_disk(str(path), readonly=True)
    assert caught.value.remedy
    return caught.value


def change(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.raw"
    path.write_bytes(b"\xab" * MIB)
    return path


# VDI


@needs_qemu
def test_a_vdi_of_differences_is_refused(tmp_path: Path, source: Path) -> None:
    path = make("vdi", source, tmp_path)
    change(path, 0x4C, struct.pack("<I", 4))
    assert "VBoxManage" in refused(path, "difference").remedy
    change(path, 0x4C, struct.pack("<I", 1))
    change(path, 0x1B8, b"\1" * 16)  # has a parent
    refused(path, "difference")


# VHD


def checked(structure: bytes, at: int) -> bytes:
    """With the sum of its bytes at ``at`` (VHD 1.0, "Hard Disk Footer Format", Checksum)."""
    total = sum(structure[:at]) + sum(structure[at + 4 :])
    return structure[:at] + struct.pack(">I", ~total & 0xFFFFFFFF) + structure[at + 4 :]


def vhd_footer(kind: int, size: int, creator: bytes = b"win ") -> bytes:
    fields = struct.pack(
        ">8sIIQI4sIIQQHBBII16sB427x", b"conectix", 2, 1 << 16, 512 if kind == 3 else (1 << 64) - 1,
        0, creator, 0, 0, size, size, 30, 4, 17, kind, 0, bytes(16), 0,
    )  # fmt: skip
    return checked(fields, 64)


def dynamic_vhd(bitmap: bytes, data: bytes) -> bytes:
    """A disk of one block of 4 KiB: footer, header, table, block, footer."""
    header = struct.pack(
        ">8sQQIIII984x", b"cxsparse", (1 << 64) - 1, 1536, 1 << 16, 1, 4096, 0
    )  # fmt: skip
    table = struct.pack(">I", 4).ljust(512, b"\xff")
    footer = vhd_footer(3, 4096)
    block = bitmap.ljust(512, b"\0") + data
    return footer + checked(header, 36) + table + block + footer


def test_sectors_of_a_vhd_that_were_never_written_are_zeroes(tmp_path: Path) -> None:
    path = tmp_path / "disk.vhd"
    path.write_bytes(dynamic_vhd(b"\xa5", b"\1" * 4096))
    sectors = [b"\1" * 512 if bit == "1" else bytes(512) for bit in "10100101"]
    assert shown(path) == b"".join(sectors)
    with contextlib.closing(open_disk(str(path), readonly=True)) as disk:
        assert disk.read(700, 1000) == b"".join(sectors)[700:1700]


@needs_qemu
def test_qemu_opens_that_vhd_too(tmp_path: Path) -> None:
    path = tmp_path / "disk.vhd"
    path.write_bytes(dynamic_vhd(b"\xff", b"\1" * 4096))
    order = ["qemu-io", "-r", "-f", "vpc", "-c", "read -P 1 0 4096", str(path)]
    done = subprocess.run(order, capture_output=True, text=True, timeout=60, check=True)
    assert "failed" not in done.stdout


@pytest.mark.parametrize("last", [0, 1], ids=["whole", "of 511 bytes"])
def test_a_fixed_vhd_is_told_by_its_footer(tmp_path: Path, last: int) -> None:
    path = tmp_path / "disk.vhd"
    content = vhd_footer(3, 4096).ljust(4096, b"\1")  # what a guest wrote there
    path.write_bytes(content + vhd_footer(2, 4096)[: 512 - last])
    assert shown(path) == content


@pytest.mark.parametrize(
    ("creator", "sectors"), [(b"vpc ", 2040), (b"qemu", 2040), (b"win ", 2048), (b"vbox", 2048)]
)
def test_the_geometry_counts_where_the_creator_means_it(
    tmp_path: Path, creator: bytes, sectors: int
) -> None:
    path = tmp_path / "disk.vhd"
    path.write_bytes(bytes(MIB) + vhd_footer(2, MIB, creator))
    assert len(shown(path)) == sectors * 512


def test_a_dynamic_vhd_whose_end_was_lost_has_a_copy(tmp_path: Path) -> None:
    path = tmp_path / "disk.vhd"
    path.write_bytes(dynamic_vhd(b"\xff", b"\1" * 4096)[:-512] + bytes(512))
    assert shown(path) == b"\1" * 4096


def test_a_vhd_of_differences_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "disk.vhd"
    path.write_bytes(bytes(4096) + vhd_footer(4, 4096))
    refused(path, "difference")


@pytest.mark.parametrize("at", [20, 48, 60, 100, 500])
def test_a_spoilt_footer_is_told(tmp_path: Path, at: int) -> None:
    footer = bytearray(vhd_footer(2, 4096))
    footer[at] ^= 1
    path = tmp_path / "disk.vhd"
    path.write_bytes(bytes(4096) + footer)
    refused(path, "its footer is spoilt")


# VHDX


def test_the_checksum_is_the_one_of_the_standard() -> None:
    """RFC 3720, appendix B.4, and the check value of the catalogue of CRCs."""
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(b"123456789") == 0xE3069283


@needs_qemu
def test_a_vhdx_that_was_not_closed_is_told_how_to_be_put_in_order(tmp_path: Path) -> None:
    """Its log holds an entry of the table of blocks, which is not in its place yet."""
    path = tmp_path / "disk.vhdx"
    create = ["qemu-img", "create", "-q", "-f", "vhdx", str(path), "64M"]
    subprocess.run(create, check=True, timeout=60)
    empty = path.read_bytes()
    write = ["qemu-io", "-f", "vhdx", "-c", "write -P 171 0 1M", str(path)]
    subprocess.run(write, check=True, timeout=60)
    written = path.read_bytes()
    log_at = written.index(b"loge", 1 << 20)
    entry = struct.unpack_from("<4sIIIQI4x16sQQ", written, log_at)
    (table_at,) = (at for at in range(2 * MIB, 8 * MIB, MIB)
                   if written[at : at + 8] != empty[at : at + 8])  # fmt: skip
    change(path, table_at, empty[table_at : table_at + 8])
    for at in (64 << 10, 128 << 10):
        header = bytearray(written[at : at + 4096])
        header[48:64] = entry[6]
        header[4:8] = bytes(4)
        header[4:8] = struct.pack("<I", crc32c(bytes(header)))
        change(path, at, bytes(header))
    assert "log" in refusal_of_qemu(path, "vhdx"), "QEMU does not read it either"
    remedy = refused(path, "was not closed").remedy
    command = remedy[remedy.index("qemu-img") :]
    subprocess.run(command, shell=True, check=True, capture_output=True, timeout=60)
    assert shown(path)[:MIB] == b"\xab" * MIB


@needs_qemu
def test_a_vhdx_has_two_of_all_that_matters(tmp_path: Path, source: Path) -> None:
    path = make("vhdx", source, tmp_path)
    data = path.read_bytes()
    for spoilt in ((64,), (128,), (192,), (64, 192)):
        path.write_bytes(data)
        for at in spoilt:
            change(path, (at << 10) + 100, b"\xff")
        assert shown(path)[:MIB] == b"\xab" * MIB
    for both in ((64, 128), (192, 256)):
        path.write_bytes(data)
        for at in both:
            change(path, (at << 10) + 100, b"\xff")
        refused(path, "are spoilt")


# VMDK


@needs_qemu
def test_a_vmdk_of_differences_is_refused(tmp_path: Path, source: Path) -> None:
    make("vmdk", source, tmp_path)
    path = tmp_path / "over.vmdk"
    over = ["qemu-img", "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", "disk.vmdk", str(path)]
    subprocess.run(over, check=True, timeout=60)
    remedy = refused(path, "difference").remedy
    command = remedy[remedy.index("qemu-img") :]
    subprocess.run(command, shell=True, check=True, capture_output=True, timeout=60)
    assert shown(tmp_path / "over.qcow2") == source.read_bytes()


@needs_qemu
def test_a_part_of_a_vmdk_is_no_disk(tmp_path: Path, source: Path) -> None:
    make("vmdk in sparse parts", source, tmp_path)
    refused(tmp_path / "disk-s001.vmdk", "is a part of a disk")


def described(path: Path, *parts: str) -> Path:
    lines = ["# Disk DescriptorFile", "version=1", "CID=1", "parentCID=ffffffff", *parts]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_vmdk_may_have_parts_of_several_kinds(tmp_path: Path) -> None:
    (tmp_path / "data.raw").write_bytes(b"\1" * 1024 + b"\2" * 1024)
    path = described(
        tmp_path / "disk.vmdk", 'RW 2 FLAT "data.raw" 2', "RW 3 ZERO", 'RDONLY 1 VMFS "data.raw" 1'
    )
    assert shown(path) == b"\2" * 1024 + bytes(1536) + b"\1" * 512
    with contextlib.closing(open_disk(str(path), readonly=True)) as disk:
        assert disk.read(1000, 2000) == shown(path)[1000:3000], "over all of them"


@pytest.mark.parametrize(
    ("part", "match"),
    [
        ('RW 2 FLAT "gone.raw" 0', "gone.raw"),
        ('RW 9 FLAT "data.raw" 0', "are not in it"),
        ('RW 2 FLAT "data.raw" 99', "are not in it"),
        ("RW 2 FLAT", "a part of the disk"),
        ("RW 0 ZERO", "a part of the disk"),
        ('NOACCESS 2 FLAT "data.raw" 0', "a part of the disk"),
        ('RW 2 VMFSRDM "data.raw"', "of the kind VMFSRDM"),
        ('RW 1 SPARSE "data.raw"', "header is cut off"),
        (
            "RW 999999999999999 ZERO\nRW 999999999999999 ZERO\nRW 999999999999999 ZERO",
            "its disk has",
        ),
        ("", "names no part"),
    ],
)
def test_wrong_parts_of_a_vmdk(tmp_path: Path, part: str, match: str) -> None:
    (tmp_path / "data.raw").write_bytes(bytes(1024))
    refused(described(tmp_path / "disk.vmdk", part), match)


@needs_qemu
@pytest.mark.parametrize(
    ("at", "data", "match"),
    [
        (4, struct.pack("<I", 4), "version 4"),
        (73, b"\n\n\r\n", "as text"),
        (20, struct.pack("<Q", 1 << 40), "tables have"),
        (12, struct.pack("<Q", 1 << 50), "is not inside the file"),
    ],
)
def test_damaged_headers_of_a_vmdk(
    tmp_path: Path, source: Path, at: int, data: bytes, match: str
) -> None:
    path = make("vmdk", source, tmp_path)
    change(path, at, data)
    refused(path, match)


@needs_qemu
def test_a_grain_that_unpacks_to_more_is_not_followed(tmp_path: Path, source: Path) -> None:
    """It costs a grain's memory, however long it would be, and must be the grain of its place."""
    path = make("vmdk for transport", source, tmp_path)
    data = path.read_bytes()
    at = data.index(zlib.compress(b"\xab" * 65536)[:8])
    bomb = zlib.compress(bytes(4 * 65536))
    change(path, at - 4, struct.pack("<I", len(bomb)) + bomb)
    assert shown(path)[:65536] == bytes(65536)
    change(path, at - 12, struct.pack("<Q", 5))
    with contextlib.closing(open_disk(str(path), readonly=True)) as disk:
        with pytest.raises(OSError, match="another grain"):
            disk.read(0, 512)
        assert disk.read(65536, 512) == b"\xab" * 512, "the others are as they were"
