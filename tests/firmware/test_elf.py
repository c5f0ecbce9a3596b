"""ELF files that are right, those that linkers make of plain options, and those that cannot run."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from bimetal.base.errors import BimetalError
from bimetal.devices.power.sifive_test import SifiveTest
from bimetal.firmware.elf import load_elf
from bimetal.firmware.memory_room import MemoryRoom
from bimetal.firmware.processors import RISCV, X86_64
from bimetal.firmware.program import Program
from bimetal.memory.ram import Ram
from tests.firmware.elves import INDEPENDENT, RAM, Part, elf, room
from tests.host import need

HIGH = 0xFFFF_FFFF_8000_0000
READ, READ_EXECUTE, READ_WRITE = 4, 5, 6
NOPS = b"\x13\0\0\0" * 4


def loaded(data: bytes, *others: tuple[int, int], home: int | None = None) -> Program:
    return load_elf(data, "the kernel vmlinux", RISCV.machine, room(1 << 20, *others), home=home)


def places(program: Program) -> list[tuple[int, bytes, int]]:
    return [(each.address, bytes(each.data), each.size) for each in program.segments]


def refusal(data: bytes, *others: tuple[int, int], home: int | None = None) -> tuple[str, str]:
    """What a user is told."""
    with pytest.raises(BimetalError) as caught:
        loaded(data, *others, home=home)
    assert caught.value.cause.startswith("the kernel vmlinux ")
    return caught.value.cause, caught.value.remedy


# Where programs go


def test_a_program_is_loaded_and_entered_at_physical_addresses() -> None:
    program = loaded(elf(Part(HIGH, physical=RAM, size=32), entry=HIGH + 4))
    assert program.entry == RAM + 4
    assert places(program) == [(RAM, NOPS, 32)]


def test_an_entry_point_may_be_a_physical_address() -> None:
    assert loaded(elf(Part(HIGH, physical=RAM), entry=RAM + 8)).entry == RAM + 8


def test_physical_addresses_that_are_all_zero_are_none() -> None:
    parts = Part(RAM, physical=0), Part(RAM + 0x1000, physical=0)
    assert [each[0] for each in places(loaded(elf(*parts)))] == [RAM, RAM + 0x1000]


def test_what_lies_below_memory_and_is_only_read_is_left_away() -> None:
    program = loaded(elf(Part(0x1_0000, b"\x7fELF headers", flags=READ), Part(RAM)))
    assert places(program) == [(RAM, NOPS, 16)]


def test_the_page_of_headers_below_code_is_left_away() -> None:
    content = b"\x7fELF".ljust(0x1000, b"\0") + NOPS
    program = loaded(elf(Part(RAM - 0x1000, content, size=0x1020, flags=READ_EXECUTE)))
    assert places(program) == [(RAM, NOPS, 32)]


def test_code_and_data_that_change_are_not_left_away() -> None:
    for flags in (READ_EXECUTE, READ_WRITE):
        cause, remedy = refusal(elf(Part(0x1_0000, flags=flags), Part(RAM)))
        assert "needs 16 bytes of memory at 0x10000, and the machine has none there" in cause
        assert "-Wl,-Ttext=0x80000000" in remedy


@pytest.mark.parametrize("entry", [0, 0x1_0000, RAM - 2, RAM + 0x2010, 1 << 63])
def test_without_a_usable_entry_point_code_begins_where_it_is_lowest(
    entry: int, caplog: pytest.LogCaptureFixture
) -> None:
    data, code = Part(RAM, flags=READ), Part(RAM + 0x2000, flags=READ_EXECUTE)
    assert loaded(elf(data, code, entry=entry)).entry == RAM + 0x2000
    assert f"entry point {entry:#x} is in no segment" in caplog.text


def test_an_odd_entry_point_is_told() -> None:
    cause, remedy = refusal(elf(Part(RAM), entry=RAM + 1))
    assert "is to be entered at 0x80000001" in cause
    assert "-Wl,-e,_start" in remedy


def test_zeroes_that_would_lie_over_other_segments_are_the_programs_own_business() -> None:
    packed = elf(
        Part(RAM, size=16),
        Part(RAM + 0x8000, b"data", size=0x1000, physical=RAM + 16, flags=READ_WRITE),
        Part(RAM + 0x100, b"more", physical=RAM + 0x100, flags=READ),
    )
    assert places(loaded(packed)) == [
        (RAM, NOPS, 16),
        (RAM + 16, b"data", 4),
        (RAM + 0x100, b"more", 4),
    ]


def test_segments_over_each_other() -> None:
    cause, _ = refusal(elf(Part(RAM), Part(RAM + 8)))
    assert "has two segments at 0x80000008, one over the other" in cause


def test_segments_in_other_memory_than_ram() -> None:
    data = elf(Part(RAM), Part(0x2000, flags=READ_EXECUTE))
    assert [each[0] for each in places(loaded(data, (0x1000, 0x2000)))] == [0x2000, RAM]


def test_data_that_change_are_not_for_a_rom() -> None:
    where = room()
    where.space.add_memory(Ram("rom", 0x1000, readonly=True), 0x1000)
    where = MemoryRoom(where.space, RAM)
    code, data = Part(0x1000, flags=READ_EXECUTE), Part(0x1000, flags=READ_WRITE)
    assert load_elf(elf(code, entry=0x1000), "x", RISCV.machine, where).start == 0x1000
    with pytest.raises(BimetalError, match="needs 16 bytes of memory at 0x1000"):
        load_elf(elf(data, entry=0x1000), "x", RISCV.machine, where)
    moved = load_elf(elf(data, entry=0x1000, kind=INDEPENDENT), "x", RISCV.machine, where, home=RAM)
    assert moved.entry == RAM


def test_empty_segments_do_not_count() -> None:
    assert places(loaded(elf(Part(0, b""), Part(RAM)))) == [(RAM, NOPS, 16)]


# Programs that can be anywhere


def test_a_position_independent_program_goes_where_there_is_memory() -> None:
    data = elf(Part(0, flags=READ_EXECUTE), Part(0x4000, b"data"), entry=4, kind=INDEPENDENT)
    program = loaded(data, home=RAM + 0x1_0000)
    assert program.entry == RAM + 0x1_0004
    assert [each[0] for each in places(program)] == [RAM + 0x1_0000, RAM + 0x1_4000]


def test_a_program_for_address_zero_goes_where_its_bin_would_be() -> None:
    program = loaded(elf(Part(0), entry=0), home=RAM)
    assert (program.entry, program.start) == (RAM, RAM)


def test_a_position_independent_program_that_has_its_place_stays() -> None:
    parts = Part(0, b"\x7fELF", flags=READ), Part(RAM + 0x100, flags=READ_EXECUTE)
    program = loaded(elf(*parts, entry=RAM + 0x100, kind=INDEPENDENT), home=RAM)
    assert (program.entry, program.start) == (RAM + 0x100, RAM + 0x100)


def test_a_program_for_another_place_stays_there_and_is_refused() -> None:
    cause, _ = refusal(elf(Part(0x1_0000), entry=0x1_0000), home=RAM)
    assert "at 0x10000" in cause


def relocated(offset: int, base: int) -> bytes:
    """A program with one relocation, which stores the address of its byte 8 at ``offset``."""
    relocation = struct.pack("<QQq", base + offset, 3, base + 8)
    table_at, dynamic_at = 0x40, 0x80
    dynamic = struct.pack("<8Q", 7, base + table_at, 8, 24, 9, 24, 0, 0)
    content = NOPS.ljust(table_at, b"\0") + relocation
    content = content.ljust(dynamic_at, b"\0") + dynamic
    head = 64 + 2 * 56
    data = bytearray(elf(Part(base, content), Part(base, kind=2), entry=base, kind=INDEPENDENT))
    struct.pack_into(
        "<QQQQQ", data, 64 + 56 + 8, head + dynamic_at, *[base + dynamic_at] * 2, 64, 64
    )
    return bytes(data)


@pytest.mark.parametrize("base", [0, RAM])
def test_addresses_are_relocated(base: int) -> None:
    ((address, data, _),) = places(loaded(relocated(0x20, base), home=RAM))
    assert address == RAM
    assert struct.unpack_from("<Q", data, 0x20) == (RAM + 8,)


def test_a_relocation_outside_of_the_program() -> None:
    for offset in (0xBC, 0x1000):
        assert "has a relocation at" in refusal(relocated(offset, 0), home=RAM)[0]


# Files that cannot run


UNUSABLE = [
    (elf(Part(RAM))[:100], "is a damaged ELF file", "anew"),
    (elf(Part(RAM))[:20], "is a damaged ELF file", "anew"),
    (elf(Part(RAM))[:130], "is truncated: 130 bytes of 136", "anew"),
    (elf(Part(RAM, size=8)), "0x10 bytes in the file and 0x8 in memory", "anew"),
    (elf(Part(RAM, size=0)), "all its segments are empty", "the executable"),
    (elf(Part(RAM, b"", size=(1 << 63) + 1, physical=1 << 63)), "has a segment of", "anew"),
    (elf(Part(RAM), machine=62), "another processor (Advanced Micro Devices X86-64)", "board"),
    (elf(Part(RAM), machine=60000), "another processor", "RISC-V"),
    (elf(Part(RAM), ident=b"\x7fELF\x01\x01\x01"), "is ", ""),
    (elf(Part(RAM), ident=b"\x7fELF\x02\x02\x01"), "is a big-endian program", "little-endian"),
    (elf(), "has no program headers", "the executable"),
    (elf(Part(RAM, kind=4)), "all its segments are empty", "the executable"),
    (elf(Part(RAM), kind=1), "is an object file that is not linked yet", "link it"),
    (elf(Part(RAM), kind=4), "is a core dump", "program itself"),
    (elf(Part(0x1_0000)), "needs 16 bytes of memory at 0x10000", "-Wl,-Ttext=0x80000000"),
    (elf(Part(RAM, size=1 << 30)), "has 1 MiB from 0x80000000 on", "at least 1 GiB"),
    (elf(Part(RAM, size=1 << 60)), "1048576 TiB of memory", "-Wl,-Ttext=0x80000000"),
    (elf(Part(RAM, physical=1 << 63)), "none there", "-Wl,-Ttext=0x80000000"),
    (elf(*[Part(RAM + 64 * n) for n in range(300)]), "it has 300 segments", "anew"),
]


@pytest.mark.parametrize(("data", "cause", "remedy"), UNUSABLE, ids=[row[1] for row in UNUSABLE])
def test_files_that_cannot_run(data: bytes, cause: str, remedy: str) -> None:
    told = refusal(data)
    assert cause in told[0]
    assert remedy in told[1]


def test_a_32_bit_program() -> None:
    header = struct.pack("<HHIIIIIHHHHHH", 2, 243, 1, RAM, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    part = struct.pack("<8I", 1, 84, RAM, RAM, 16, 16, 7, 4)
    cause, remedy = refusal(b"\x7fELF\x01\x01\x01".ljust(16, b"\0") + header + part + NOPS)
    assert "is a 32-bit program" in cause
    assert "-march=rv64gc" in remedy


def test_a_program_for_a_device() -> None:
    where = room()
    where.space.add_device(SifiveTest(), 0x1000_0000, 0x1000)
    with pytest.raises(BimetalError, match="at 0x10000000, where the machine has test") as caught:
        load_elf(elf(Part(0x1000_0000)), "the kernel x", RISCV.machine, where)
    assert "0x80000000" in caught.value.remedy


# What compilers and linkers make

COMPILER = "riscv64-linux-gnu-gcc"
SOURCE = """\
        .globl _start
_start: lla     t0, pointer
        ld      a0, 0(t0)
        .data
        .balign 8
pointer: .dword _start
"""


def linked(folder: Path, *options: str) -> bytes:
    need(COMPILER)
    (folder / "a.S").write_text(SOURCE)
    command = [COMPILER, "-nostdlib", "-o", "a.elf", "a.S", *options]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return (folder / "a.elf").read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        ["-static"],
        ["-static", "-Wl,--build-id=none"],
        ["-static", "-Wl,-z,separate-code"],
        ["-static", "-Wl,-z,separate-code,--build-id=none"],
        ["-static", "-Wl,-N"],
        ["-static", "-Wl,-e,0"],
        ["-static-pie"],
        ["-pie"],
    ],
    ids=" ".join,
)
def test_programs_linked_at_the_start_of_memory(tmp_path: Path, options: list[str]) -> None:
    program = loaded(linked(tmp_path, "-Wl,-Ttext=0x80000000", *options), home=RAM)
    assert (program.start, program.entry) == (RAM, RAM)
    pointers = [each for each in program.segments if struct.pack("<Q", RAM) in bytes(each.data)]
    assert len(pointers) == 1


def test_a_static_pie_linked_nowhere(tmp_path: Path) -> None:
    program = loaded(linked(tmp_path, "-static-pie"), home=RAM)
    assert RAM < program.entry < RAM + 0x1000
    pointer = struct.pack("<Q", program.entry)
    assert any(pointer in bytes(each.data) for each in program.segments)


def test_a_program_of_linux_is_no_kernel(tmp_path: Path) -> None:
    need(COMPILER)
    (tmp_path / "a.c").write_text("int main(void) { return 0; }\n")
    subprocess.run([COMPILER, "-o", "a", "a.c"], cwd=tmp_path, check=True)
    cause, remedy = refusal((tmp_path / "a").read_bytes(), home=RAM)
    assert "is a program for an operating system: it asks for libc.so.6" in cause
    assert "-nostdlib" in remedy
    subprocess.run([COMPILER, "-static", "-o", "a", "a.c"], cwd=tmp_path, check=True)
    cause, _ = refusal((tmp_path / "a").read_bytes(), home=RAM)
    assert "it was linked with a C library" in cause
    options = "-shared -fPIC -nostdlib -Wl,-soname,liba.so"
    subprocess.run([COMPILER, *options.split(), "-o", "a", "a.c"], cwd=tmp_path, check=True)
    assert "it is a shared library" in refusal((tmp_path / "a").read_bytes(), home=RAM)[0]


def test_an_object_file_of_the_assembler(tmp_path: Path) -> None:
    assert "is not linked yet" in refusal(linked(tmp_path, "-c"))[0]


def test_read_only_data_without_memory_are_missed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layout = "-Wl,-Ttext=0x80000000,-Tdata=0x80001000,--section-start=.rodata=0x20000"
    assert loaded(linked(tmp_path, "-static", layout)).entry == RAM
    assert not caplog.text
    (tmp_path / "text.S").write_text('        .section .rodata\n        .asciz "text"\n')
    assert loaded(linked(tmp_path, "-static", layout, "text.S")).entry == RAM
    assert "no memory at 0x20000 for .rodata, which the program will miss" in caplog.text


def test_the_wrong_machine_is_told_before_anything_else() -> None:
    with pytest.raises(BimetalError, match="another processor \\(RISC-V\\)"):
        load_elf(elf(Part(RAM)), "the kernel x", X86_64.machine, room())
