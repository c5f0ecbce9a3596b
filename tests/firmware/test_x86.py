"""Kernels for x86: bzImage, PVH, and what they are told."""

from __future__ import annotations

import struct

import pytest

from bimetal.base.errors import BimetalError
from bimetal.firmware.linux_x86 import is_bzimage, load_bzimage, place_initrd, zero_page
from bimetal.firmware.memory_map import RAM, RESERVED, MemoryArea
from bimetal.firmware.memory_room import MemoryRoom
from bimetal.firmware.program import Program, Segment
from bimetal.firmware.pvh import load_pvh, start_info
from bimetal.firmware.x86_modes import gdt, long_mode, page_tables, protected_mode
from bimetal.memory.ram import Ram
from bimetal.memory.space import AddressSpace
from tests.kvm_bed.hello import LOAD_AT, hello_kernel

SETUP_SECTORS = 3
CODE = bytes(range(256)) * 4


def pc() -> MemoryRoom:
    """Memory as a PC has it."""
    space = AddressSpace()
    space.add_memory(Ram("ram", 32 << 20), 0)
    return MemoryRoom(space, 1 << 20)


def bzimage(
    *, version: int = 0x020F, flags: int = 3, code: bytes = CODE, init_size: int = 0x10_0000
) -> bytearray:
    """A kernel with a header like Linux 6 has, and no kernel in it."""
    image = bytearray((SETUP_SECTORS + 1) * 512)
    image[0x1F1] = SETUP_SECTORS
    image[0x201] = 0x6A
    image[0x202:0x206] = b"HdrS"
    for offset, form, value in (
        (0x1F4, "I", len(code) // 16),
        (0x206, "H", version),
        (0x22C, "I", 0x7FFF_FFFF),
        (0x236, "H", flags),
        (0x238, "I", 2047),
        (0x258, "Q", 0x100_0000),
        (0x260, "I", init_size),
    ):
        struct.pack_into(f"<{form}", image, offset, value)
    return image + code


def test_a_kernel_goes_where_it_prefers_and_is_entered_behind_its_32_bit_code() -> None:
    image = bytes(bzimage())
    assert is_bzimage(image)
    kernel = load_bzimage(image, "vmlinuz")
    assert kernel.program.start == 0x100_0000
    assert kernel.program.entry == 0x100_0200
    assert kernel.program.end == 0x110_0000
    assert bytes(kernel.program.segments[0].data) == CODE
    assert kernel.long
    assert kernel.command_line_limit == 2047
    assert kernel.initrd_limit == 0xFFFF_FFFF


def test_a_kernel_for_32_bits_is_entered_where_it_begins() -> None:
    kernel = load_bzimage(bytes(bzimage(flags=0)), "vmlinuz")
    assert not kernel.long
    assert kernel.program.entry == kernel.program.start == 0x100_0000
    assert kernel.initrd_limit == 0x7FFF_FFFF


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (bzimage(version=0x020B), "speaks boot protocol 2.11"),
        (bzimage()[:-1], "has 3071 bytes of 3072"),
        (bzimage()[:0x300], "ends inside its header"),
        (bzimage(init_size=0xFFFF_FFFF), "asks for 0xffffffff bytes"),
    ],
    ids=["old", "truncated", "stub", "huge"],
)
def test_kernels_that_cannot_be_used(image: bytearray, why: str) -> None:
    with pytest.raises(BimetalError, match=why):
        load_bzimage(bytes(image), "vmlinuz")


def test_the_zero_page() -> None:
    kernel = load_bzimage(bytes(bzimage()), "vmlinuz")
    initrd = Program("initrd", (Segment(0x0800_0000, b"x" * 5000, 5000),), 0)
    areas = [MemoryArea(0, 0x9_FC00, RAM), MemoryArea(0xE_0000, 0x2_0000, RESERVED)]
    page = zero_page(kernel, areas, command_line_at=0x2_0000, initrd=initrd, rsdp=0xE_0000)
    assert page[0x1F1 : 0x1F1 + len(kernel.header)][0x11:0x15] == b"HdrS"
    assert page[0x210] == 0xFF
    assert struct.unpack_from("<II", page, 0x218) == (0x0800_0000, 5000)
    assert struct.unpack_from("<I", page, 0x228) == (0x2_0000,)
    assert struct.unpack_from("<Q", page, 0x70) == (0xE_0000,)
    assert page[0x1E8] == 2
    assert struct.unpack_from("<QQIQQI", page, 0x2D0) == (0, 0x9_FC00, 1, 0xE_0000, 0x2_0000, 2)


def test_the_initrd_lies_high_and_not_on_the_kernel() -> None:
    kernel = load_bzimage(bytes(bzimage()), "vmlinuz").program
    initrd = place_initrd(bytes(5000), "initrd", kernel, top=256 << 20, limit=0x7FFF_FFFF)
    assert initrd.start == (256 << 20) - 8192
    with pytest.raises(BimetalError, match="beside the kernel") as caught:
        place_initrd(bytes(5000), "initrd", kernel, top=kernel.end + 4096, limit=0x7FFF_FFFF)
    assert caught.value.remedy == "give the machine at least 18 MiB"
    place_initrd(bytes(5000), "initrd", kernel, top=18 << 20, limit=0x7FFF_FFFF)
    with pytest.raises(BimetalError, match="beside the kernel") as caught:
        place_initrd(bytes(5000), "initrd", kernel, top=256 << 20, limit=kernel.end + 4095)
    assert "smaller" in caught.value.remedy


def test_pvh_begins_where_the_note_says() -> None:
    kernel = load_pvh(hello_kernel(), "hello", pc())
    assert kernel.entry == kernel.start == LOAD_AT


def test_pvh_starts_kernels_of_32_bits() -> None:
    note = struct.pack("<III4sI", 4, 4, 18, b"Xen\0", 0x10_0004)
    ident = b"\x7fELF\1\1\1".ljust(16, b"\0")
    header = struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, 0x10_0000, 52, 0, 0, 52, 32, 2, 0, 0, 0)
    parts = struct.pack("<8I", 1, 116, 0x10_0000, 0x10_0000, 8, 8, 5, 4)
    parts += struct.pack("<8I", 4, 124, 0, 0, len(note), len(note), 4, 4)
    kernel = load_pvh(ident + header + parts + b"\x90" * 8 + note, "hello", pc())
    assert (kernel.start, kernel.entry) == (0x10_0000, 0x10_0004)


def test_an_elf_file_without_the_note() -> None:
    image = hello_kernel().replace(b"Xen\0", b"Yen\0")
    with pytest.raises(BimetalError, match="without a PVH entry point"):
        load_pvh(image, "hello", pc())


@pytest.mark.parametrize("length", [10, 63, 100, 200])
def test_a_truncated_elf_file(length: int) -> None:
    with pytest.raises(BimetalError, match="hello"):
        load_pvh(hello_kernel()[:length], "hello", pc())


def test_the_start_info() -> None:
    initrd = Program("initrd", (Segment(0x0800_0000, b"x" * 100, 100),), 0)
    info = start_info(
        0x6000, [MemoryArea(0, 4096, RAM)], command_line_at=0x2_0000, initrd=initrd, rsdp=0xE_0000
    )
    magic, version, _, modules = struct.unpack_from("<4I", info)
    assert (magic, version, modules) == (0x336E_C578, 1, 1)
    modules_at, command_line, rsdp, map_at = struct.unpack_from("<4Q", info, 16)
    assert (command_line, rsdp) == (0x2_0000, 0xE_0000)
    assert struct.unpack_from("<QQ", info, modules_at - 0x6000) == (0x0800_0000, 100)
    assert struct.unpack_from("<QQI", info, map_at - 0x6000) == (0, 4096, 1)


def test_page_tables_map_four_gigabytes_one_to_one() -> None:
    tables: tuple[int, ...] = struct.unpack("<3072Q", bytes(page_tables(0x9000).data))

    def walk(address: int) -> int:
        top = tables[address >> 39]
        middle = tables[((top & ~0xFFF) - 0x9000) // 8 + (address >> 30)]
        entry = tables[((middle & ~0xFFF) - 0x9000) // 8 + (address >> 21 & 511)]
        assert top & middle & entry & 3 == 3
        return (entry & ~0x1F_FFFF) | address & 0x1F_FFFF

    for address in (0, 0x20_0000, 0x3FFF_FFFF, 0x4000_0000, 0xFEE0_0000, 0xFFFF_FFFF):
        assert walk(address) == address


def test_modes_can_be_set_in_the_order_given() -> None:
    names = list(long_mode(0x500, 0x9000))
    assert names.index("efer") < names.index("cr0") < names.index("cs.attributes")
    assert names[-1] == "cs.attributes"
    assert protected_mode(0x500)["cr0"] == 1
    for long, code in ((True, 0x00AF_9B00_0000_FFFF), (False, 0x00CF_9B00_0000_FFFF)):
        entries = struct.unpack("<5Q", bytes(gdt(0x500, long=long).data))
        assert entries[2:4] == (code, 0x00CF_9300_0000_FFFF)
