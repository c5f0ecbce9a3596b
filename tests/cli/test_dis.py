"""``bimetal dis``."""

from __future__ import annotations

import random
import re
import struct
import subprocess
from itertools import product
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.firmware.elves import Part, elf
from tests.firmware.test_x86 import bzimage
from tests.host import need

ADDI = "  00150513  addi a0, a0, 1"


@pytest.mark.parametrize("text", ["13051500", "13 05 15 00", "0x00150513", "0x0015_0513"])
def test_bytes_and_words(cli: Cli, text: str) -> None:
    assert cli("dis", text).out == f"           0:{ADDI}\n"


def test_the_instruction_set_of_digits_is_said(cli: Cli) -> None:
    shown = cli("dis", "0x94000004", "--arch", "aarch64", "--address", "0x40000000").out
    assert shown == "    40000000:  94000004  bl 0x40000010\n"


def test_an_address_moves_targets(cli: Cli) -> None:
    shown = cli("dis", "0x0000006f", "--address", "0x80000000").out
    assert shown == "    80000000:  0000006f  jal zero, 0x80000000\n"


def test_control_registers_have_names(cli: Cli) -> None:
    assert cli("dis", "0x30059573").out == "           0:  30059573  csrrw a0, mstatus, a1\n"


def test_x86_is_shown_as_bytes(cli: Cli) -> None:
    lines = cli("dis", "--arch", "x86_64", "4889e5 e86bfdffff c3").out.splitlines()
    assert lines[0] == "           0:  48 89 e5              mov rbp, rsp"
    assert lines[1].startswith("           3:  e8 6b fd ff ff        call ")
    assert lines[2] == "           8:  c3                    ret"


def test_a_raw_file(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "code.bin"
    path.write_bytes(bytes.fromhex("13051500 0145"))
    lines = cli("dis", str(path)).out.splitlines()
    assert lines[0] == f"           0:{ADDI}"
    assert lines[1].startswith("           4:  4501      ")


@pytest.mark.parametrize(
    ("magic", "text"), [(b"ARM\x64", "nop"), (b"RSC\x05", ".byte 1f 20 03 d5 00 00"), (b"", None)]
)
def test_an_image_of_linux_says_what_it_is(
    cli: Cli, tmp_path: Path, magic: bytes, text: str | None
) -> None:
    path = tmp_path / "Image"
    path.write_bytes(bytes.fromhex("1f2003d5") + bytes(52) + magic)
    first = cli("dis", str(path)).out.splitlines()[0]
    assert text is None or first.endswith(f"  {text}")
    assert cli("dis", str(path), "--arch", "aarch64").out.splitlines()[0].endswith("  nop")


def test_a_packed_kernel_of_x86_is_named(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(bytes(bzimage()))
    told = cli("dis", str(path))
    assert told.code == 65
    assert "vmlinuz is a bzImage" in told.err
    assert "extract-vmlinux" in told.err
    assert cli("dis", str(path), "--arch", "x86_64").code == 0


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["zz"], 64, "neither a file nor hexadecimal bytes"),
        (["123"], 64, "neither a file nor hexadecimal bytes"),
        (["00", "--arch", "z80"], 64, "no instruction set 'z80'"),
        (["0x"], 64, "neither a file nor hexadecimal bytes"),
        ([""], 64, "neither a file nor hexadecimal bytes"),
        (["00", "--address", "here"], 64, "'here' is no address"),
        (["00", "--address=-4"], 64, "'-4' is no address"),
        (["00", "--address", hex(1 << 64)], 64, "is no address of 64 bits"),
    ],
)
def test_bad_input(cli: Cli, words: list[str], code: int, says: str) -> None:
    told = cli("dis", *words)
    assert told.code == code
    assert says in told.err


def test_a_damaged_elf_file(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "bad.elf"
    path.write_bytes(b"\x7fELF\x02\x01\x01 and no more")
    told = cli("dis", str(path))
    assert told.code == 65
    assert "bad.elf" in told.err


# Files of compilers, beside objdump

RISCV, ARM, X86 = "riscv64-linux-gnu", "aarch64-linux-gnu", "x86_64-linux-gnu"
ALIASES = dict.fromkeys((RISCV, ARM), ("-M", "no-aliases"))
ASSEMBLER, ARCHIVER = f"{RISCV}-as", f"{RISCV}-ar"
LINE = re.compile(r"\s*([0-9a-f]+):\s+([0-9a-f]+(?: [0-9a-f]+)*)\s+(\S.*)")


def assembled(folder: Path, name: str, source: str, *options: str) -> Path:
    need(ASSEMBLER)
    (folder / f"{name}.s").write_text(source)
    command = [ASSEMBLER, *options, "-o", f"{name}.o", f"{name}.s"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / f"{name}.o"


def instructions(listing: str) -> list[tuple[int, str]]:
    """Address and bytes of each line with code."""
    found = [LINE.fullmatch(line) for line in listing.splitlines()]
    return [(int(match[1], 16), match[2].replace(" ", "")) for match in found if match]


def by_objdump(path: Path, tools: str = RISCV) -> list[tuple[int, str]]:
    need(f"{tools}-objdump")
    command = [f"{tools}-objdump", "-d", "-z", "-w", *ALIASES.get(tools, ()), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return instructions(done.stdout)


def texts(listing: str) -> list[str]:
    found = [LINE.fullmatch(line) for line in listing.splitlines()]
    return [match[3] for match in found if match]


def test_what_is_not_known_does_not_shift_what_follows(cli: Cli, tmp_path: Path) -> None:
    source = """
        addi a0, a0, 1000
        vsetvli t0, a0, e32, m1, ta, ma
        vle32.v v0, (a1)
        c.addi a0, 1
        vadd.vv v0, v0, v1
        addi a0, a0, 1000
    """
    path = assembled(tmp_path, "a", source, "-march=rv64gcv")
    told = cli("dis", str(path))
    assert told.code == 0, told.err
    assert instructions(told.out) == by_objdump(path)
    shown = texts(told.out)
    assert [shown[at] for at in (0, 1, 3, 5)] == [
        "addi a0, a0, 1000",
        ".byte d7 72 05 0d",
        "c.addi a0, 1",
        "addi a0, a0, 1000",
    ]


@pytest.mark.parametrize(
    ("code", "length"),
    [
        ("00 00", 2),
        ("57 70 00 0c", 4),
        ("1f 00 01 02 03 04", 6),
        ("3f 00 01 02 03 04 05 06", 8),
        ("7f 00 01 02 03 04 05 06 07 08", 10),
        ("7f 10 01 02 03 04 05 06 07 08 09 0a", 12),
        ("7f 70", 2),
    ],
)
def test_the_low_bits_say_how_long_an_instruction_is(cli: Cli, code: str, length: int) -> None:
    lines = cli("dis", code + "13051500").out.splitlines()
    assert lines[0].endswith(f"  .byte {code}")
    assert lines[1] == f"{length:12x}:{ADDI}"


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_an_instruction_that_is_cut_is_bytes(cli: Cli, cut: int) -> None:
    whole, unknown = bytes.fromhex("13051500"), bytes.fromhex("d772050d")
    for code in (whole, unknown):
        lines = cli("dis", (whole + code[:cut]).hex()).out.splitlines()
        assert len(lines) == 2
        assert lines[1].endswith(f".byte {code[:cut].hex(' ')}")


@pytest.mark.parametrize(
    ("tools", "library", "least"),
    [
        *product((RISCV, ARM), ("libgcc.a", "libm.so.6"), (10_000,)),
        (X86, "libgcov.a", 3_000),
        pytest.param(X86, "libgcc.a", 100_000, marks=pytest.mark.slow),
    ],
)
def test_libraries_of_the_compiler(cli: Cli, tools: str, library: str, least: int) -> None:
    compiler = f"{tools}-gcc"
    need(compiler, f"{tools}-objdump")
    command = [compiler, f"-print-file-name={library}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    path = Path(done.stdout.strip())
    told = cli("dis", str(path))
    assert told.code == 0, told.err
    ours = instructions(told.out)
    assert len(ours) > least
    assert ours == by_objdump(path, tools)


SECTIONS = """
        .section .text.one, "ax"
first:  addi a0, a0, 1
        .section .text.two, "ax"
second: addi a0, a0, 2
also:   addi a0, a0, 3
.Lown:  addi a0, a0, 4
        .data
datum:  .word 1
"""


def test_each_section_has_its_own_labels(cli: Cli, tmp_path: Path) -> None:
    path = assembled(tmp_path, "a", SECTIONS)
    lines = [line for line in cli("dis", str(path)).out.splitlines() if line.endswith(":")]
    assert lines == ["first:", "second:", "also:"]
    whole = cli("dis", str(path)).out.splitlines()
    one, two = whole.index("section .text.one"), whole.index("section .text.two")
    assert whole[one + 1] == "first:"
    assert whole[two + 1] == "second:"


def test_several_names_of_one_place(cli: Cli, tmp_path: Path) -> None:
    path = assembled(tmp_path, "a", ".globl a, b\na:\nb: addi a0, a0, 1\n")
    assert [line for line in cli("dis", str(path)).out.splitlines() if ":" in line][:2] == [
        *("a:", "b:"),
    ]


def test_the_members_of_an_archive(cli: Cli, tmp_path: Path) -> None:
    need(ARCHIVER)
    names = ["a", "a_member_with_a_very_long_name", "third"]
    for number, name in enumerate(names):
        assembled(tmp_path, name, f"addi a0, a0, {number}\n")
    (tmp_path / "notes.txt").write_text("not code")
    files = [*(f"{name}.o" for name in names), "notes.txt"]
    subprocess.run([ARCHIVER, "rcs", "lib.a", *files], cwd=tmp_path, check=True)
    lines = cli("dis", str(tmp_path / "lib.a")).out.splitlines()
    assert lines[::2] == [f"{name}.o, section .text" for name in names]
    assert [line.split("  ")[-1] for line in lines[1::2]] == [
        f"addi a0, a0, {number}" for number in range(3)
    ]


def test_archives_that_cannot_be_read(cli: Cli, tmp_path: Path) -> None:
    need(ARCHIVER)
    assembled(tmp_path, "a", "nop\n")
    subprocess.run([ARCHIVER, "rcsT", "thin.a", "a.o"], cwd=tmp_path, check=True)
    subprocess.run([ARCHIVER, "rc", "good.a", "a.o"], cwd=tmp_path, check=True)
    whole = (tmp_path / "good.a").read_bytes()
    (tmp_path / "cut.a").write_bytes(whole[:-10])
    (tmp_path / "short.a").write_bytes(whole[:40])
    (tmp_path / "empty.a").write_bytes(b"!<arch>\n")
    for name, cause in (
        ("thin.a", "is a thin archive"),
        ("cut.a", "is damaged"),
        ("short.a", "is damaged"),
        ("empty.a", "is an archive without object files"),
    ):
        told = cli("dis", str(tmp_path / name))
        assert told.code == 65
        assert cause in told.err


def test_code_of_other_machines_is_not_shown_as_ours(cli: Cli, tmp_path: Path) -> None:
    path = assembled(tmp_path, "a", "jal x1, .\n", "-march=rv32gc", "-mabi=ilp32d")
    told = cli("dis", str(path))
    assert (told.code, told.out) == (69, "")
    assert "code for RISC-V of 32 bits" in told.err
    assert "--arch" in told.err
    assert "jal ra" in cli("dis", str(path), "--arch", "riscv64").out
    told = cli("dis", str(path), "--arch", "z80")
    assert (told.code, told.out) == (64, "")
    foreign = bytearray(path.read_bytes())
    foreign[18:20] = b"\x08\0"
    path.write_bytes(foreign)
    assert "code for MIPS R3000 of 32 bits" in cli("dis", str(path)).err


def test_a_file_that_has_lost_its_sections(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "a.elf"
    path.write_bytes(elf(Part(0x8000_0000, bytes.fromhex("13051500")), Part(0x9000, flags=6)))
    assert cli("dis", str(path)).out.splitlines() == [
        "segment 0",
        "    80000000:  00150513  addi a0, a0, 1",
    ]


def test_no_damage_of_an_object_file_is_more_than_an_error(cli: Cli, tmp_path: Path) -> None:
    whole = assembled(tmp_path, "a", SECTIONS).read_bytes()
    path, chance, refused = tmp_path / "b.o", random.Random(5), 0
    for _ in range(300):
        data = bytearray(whole[: chance.choice([len(whole), chance.randrange(len(whole))])])
        for _ in range(chance.randrange(4)):
            width = chance.choice([1, 4, 8])
            at = chance.randrange(max(1, len(data) - 8)) & -width
            value = chance.choice([0, 0xFF, (1 << 8 * width) - 1, 1 << 8 * width - 1])
            data[at : at + width] = (value & (1 << 8 * width) - 1).to_bytes(width, "little")
        path.write_bytes(data)
        refused += cli("dis", str(path)).code != 0
    assert 0 < refused < 300


def test_a_section_of_all_ones(cli: Cli, tmp_path: Path) -> None:
    path = assembled(tmp_path, "a", SECTIONS)
    data = bytearray(path.read_bytes())
    (table,) = struct.unpack_from("<Q", data, 40)
    for number in range(1, struct.unpack_from("<H", data, 60)[0]):
        struct.pack_into("<Q", data, table + 64 * number + 32, (1 << 64) - 1)
    path.write_bytes(data)
    told = cli("dis", str(path))
    assert told.code == 65
    assert "is a damaged ELF file" in told.err
