"""Kernels and firmware from files that are right, truncated, hostile or missing."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from bimetal.base.errors import BimetalError
from bimetal.firmware import compression
from bimetal.firmware.compression import decompress
from bimetal.firmware.elf import load_elf
from bimetal.firmware.kernel import load_raw, load_riscv_firmware, load_riscv_kernel
from bimetal.firmware.linux_image import load_riscv_image
from bimetal.firmware.opensbi import dynamic_info, reset_code
from bimetal.firmware.program import Program, Segment
from bimetal.memory.ram import Ram
from bimetal.memory.space import AddressSpace

RAM = 0x8000_0000


def image(
    body: bytes = b"\x13" * 64, *, size: int = 0x3000, offset: int = 0x20_0000, flags: int = 0
) -> bytes:
    """A Linux image of 0x2000 bytes with an EFI stub and one section."""
    header = struct.pack(
        "<2sHIQQQIIQ8sII", b"MZ", 0, 0, offset, size, flags, 2, 0, 0, b"RISCV\0\0\0", 0, 64
    )
    header = header[:56] + b"RSC\x05" + header[60:]
    coff = struct.pack("<4sHHIIIHH", b"PE\0\0", 0x5064, 1, 0, 0, 0, 0, 0)
    section = struct.pack("<8sIIII", b".text", 0x3000, 0x1000, 0x1000, 0x1000).ljust(40, b"\0")
    return (header + coff + section + body).ljust(0x2000, b"\x13")


def elf(*, paddr: int = RAM, memsz: int = 32, entry: int = 0xFFFF_FFFF_8000_0004) -> bytes:
    """An executable of 16 bytes, linked high and loaded low."""
    header = struct.pack(
        "<4sBBBB8xHHIQQQIHHHHHH",
        b"\x7fELF", 2, 1, 1, 0, 2, 243, 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0,
    )  # fmt: skip
    program = struct.pack("<IIQQQQQQ", 1, 5, 120, 0xFFFF_FFFF_8000_0000, paddr, 16, memsz, 4096)
    return header + program + bytes(range(16))


def refusal(data: bytes) -> str:
    """What a user is told about a kernel."""
    with pytest.raises(BimetalError) as caught:
        load_riscv_image(data, "Image", RAM)
    assert caught.value.remedy
    return caught.value.cause


def test_a_linux_image_goes_where_its_header_says() -> None:
    program = load_riscv_image(image(), "Image", RAM)
    assert (program.entry, program.start, program.end) == (RAM + 0x20_0000,) * 2 + (
        RAM + 0x20_3000,
    )


def test_an_image_without_a_pe_header_needs_only_its_own() -> None:
    plain = b"\0\0" + image()[2:0x100]
    assert load_riscv_image(plain, "Image", RAM).end == RAM + 0x20_3000


@pytest.mark.parametrize("length", [1, 57, 63, 64, 87, 100, 0x1FFF])
def test_a_truncated_image_is_refused(length: int) -> None:
    data = image()[:length]
    if length < 60:
        with pytest.raises(BimetalError, match="inside its header"):
            load_riscv_image(data, "Image", RAM)
    else:
        assert "damaged" in refusal(data)


def test_images_that_cannot_run() -> None:
    assert "big-endian" in refusal(image(flags=1))
    assert "asks for" in refusal(image(size=1 << 60))
    assert "asks for" in refusal(image(offset=(1 << 64) - 1))


def test_an_elf_is_loaded_and_entered_at_physical_addresses() -> None:
    program = load_elf(elf(), "vmlinux", "EM_RISCV")
    assert program.entry == RAM + 4
    assert [(s.address, bytes(s.data), s.size) for s in program.segments] == [
        (RAM, bytes(range(16)), 32)
    ]


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (elf()[:100], "damaged"),
        (elf()[:130], "truncated: 130 bytes of 136"),
        (elf(memsz=8), "has a segment of"),
        (elf(paddr=1 << 63), "has a segment of"),
        (elf()[:18] + b"\x3e\0" + elf()[20:], "not a 64-bit little-endian EM_RISCV program"),
        (elf()[:4] + b"\x01" + elf()[5:], "."),
        (elf()[:56] + b"\0\0" + elf()[58:], "nothing to load"),
    ],
)
def test_elf_files_that_cannot_run(data: bytes, cause: str) -> None:
    with pytest.raises(BimetalError, match=cause):
        load_elf(data, "vmlinux", "EM_RISCV")


LOADERS: list[tuple[Callable[..., Program], object]] = [
    (load_elf, "EM_RISCV"),
    (load_riscv_image, RAM),
]


@given(st.binary(max_size=300), st.integers(0, 250))
def test_no_file_breaks_the_loaders(noise: bytes, at: int) -> None:
    for good in (elf(), image()):
        data = good[:at] + noise + good[at + len(noise) :]
        for load, where in LOADERS:
            try:
                program = load(data, "x", where)
            except BimetalError:
                continue
            assert program.end <= 1 << 41


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Image").write_bytes(image())
    (tmp_path / "Image.gz").write_bytes(gzip.compress(image()))
    (tmp_path / "vmlinux").write_bytes(elf())
    (tmp_path / "u-boot.bin").write_bytes(b"\x6f\0\0\0")
    (tmp_path / "notes").write_text("A text, no program.\n")
    (tmp_path / "empty").write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("Image", 0x8020_0000),
        ("Image.gz", 0x8020_0000),
        ("vmlinux", RAM + 4),
    ],
)
def test_every_format_is_recognised(folder: Path, name: str, entry: int) -> None:
    assert load_riscv_kernel(str(folder / name), RAM).entry == entry
    assert load_riscv_firmware(str(folder / name), RAM).entry == entry


def test_raw_binaries_are_firmware_or_called_so(folder: Path) -> None:
    path = str(folder / "u-boot.bin")
    assert load_riscv_firmware(path, RAM).entry == RAM
    assert load_raw(path, "kernel", 0x1234) == Program(
        path, (Segment(0x1234, b"\x6f\0\0\0", 4),), entry=0x1234
    )
    with pytest.raises(BimetalError, match="neither a Linux image for RISC-V nor ELF") as caught:
        load_riscv_kernel(path, RAM)
    assert "--kernel-format raw" in caught.value.remedy


def test_text_is_no_program(folder: Path) -> None:
    with pytest.raises(BimetalError, match=r"the kernel .*notes is text"):
        load_riscv_kernel(str(folder / "notes"), RAM)
    with pytest.raises(BimetalError, match=r"the bios .*notes is text"):
        load_riscv_firmware(str(folder / "notes"), RAM)


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("missing", "the kernel .*missing cannot be read: No such file"),
        (".", "cannot be read: Is a directory"),
        ("empty", "the kernel .*empty is empty"),
    ],
)
def test_files_that_are_not_there(folder: Path, name: str, cause: str) -> None:
    with pytest.raises(BimetalError, match=cause):
        load_riscv_kernel(str(folder / name), RAM)


def test_gzip_that_is_cut_damaged_or_too_large() -> None:
    good = gzip.compress(b"kernel" * 1000)
    assert decompress(good, "Image") == b"kernel" * 1000
    for data, cause in (
        (good[:-9], "ends too early"),
        (good[:20] + b"\xff\xff\xff" + good[23:], "damaged"),
    ):
        with pytest.raises(BimetalError, match=cause):
            decompress(data, "Image")
    with pytest.raises(BimetalError, match="grows beyond 4 KiB"):
        decompress(gzip.compress(bytes(1 << 20)), "Image", limit=4096)


def test_zstd() -> None:
    good = zstandard.ZstdCompressor().compress(b"kernel" * 1000)
    assert decompress(good, "Image") == b"kernel" * 1000
    with pytest.raises(BimetalError, match="ends too early"):
        decompress(good[:-5], "Image")
    with pytest.raises(BimetalError, match="grows beyond 4 KiB"):
        decompress(good, "Image", limit=4096)


def test_zstd_without_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "zstandard", None)
    with pytest.raises(BimetalError, match="zstd -d"):
        decompress(b"\x28\xb5\x2f\xfd....", "Image")


def test_a_program_fills_its_uninitialised_data_with_zeroes() -> None:
    space = AddressSpace()
    ram = Ram("ram", 0x2000)
    ram.bytes[:] = b"\xff" * 0x2000
    space.add_memory(ram, RAM)
    Program("p", (Segment(RAM + 0x10, b"code", 0x20),), RAM).load(space)
    assert space.read(RAM + 0xC, 0x28) == b"\xff" * 4 + b"code" + bytes(0x1C) + b"\xff" * 4


def test_a_program_that_does_not_fit_is_the_users_error() -> None:
    space = AddressSpace()
    space.add_memory(Ram("ram", 0x1000), RAM)
    with pytest.raises(BimetalError, match="Image needs 8 KiB of memory at 0x80000000") as caught:
        Program("Image", (Segment(RAM, b"", 0x2000),), RAM).load(space)
    assert "more memory" in caught.value.remedy


def test_the_reset_code_finds_its_numbers() -> None:
    code = reset_code(0x8000_0000, 0x9FE0_0000, dynamic_info(0x8020_0000))
    assert struct.unpack_from("<QQ", code, 24) == (0x8000_0000, 0x9FE0_0000)
    assert struct.unpack_from("<6Q", code, 40) == (0x4942534F, 2, 0x8020_0000, 1, 0, 0)
