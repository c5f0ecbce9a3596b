"""Names of code, from ELF files and from lists."""

from __future__ import annotations

import gzip
import random
import subprocess
from pathlib import Path

import pytest

from bimetal.base.errors import BimetalError
from bimetal.firmware.symbol_table import Symbol, SymbolTable
from bimetal.firmware.symbols import elf_symbols, load_symbols
from tests.host import need

KALLSYMS = """\
ffffffff80000000 T _start
ffffffff80001000 t early
ffffffff80001000 T alias
ffffffff80002000 D table
ffffffff01000000 t probe	[virtio_blk]
ffffffff01000100 b state	[virtio_blk]
"""

DEBIAN = b"ffffffffffffffff B The real System.map is in the linux-image-<version>-dbg package\n"

SOURCE = """\
        .globl _start
_start: nop
        nop
        .type helper, @function
helper: nop
.Lloop: j .Lloop
        .size helper, . - helper
        .balign 64
last:   nop
        .data
here:   .word 1
"""


def named(table: SymbolTable, address: int) -> tuple[str, str] | None:
    symbol = table.find(address)
    return (symbol.object, symbol.name) if symbol else None


def test_a_list_like_kallsyms(tmp_path: Path) -> None:
    path = tmp_path / "kallsyms"
    path.write_text(KALLSYMS)
    table = load_symbols(str(path))
    assert named(table, 0xFFFF_FFFF_8000_0000) == ("kallsyms", "_start")
    assert named(table, 0xFFFF_FFFF_8000_0FFF) == ("kallsyms", "_start")
    assert named(table, 0xFFFF_FFFF_8000_1004) == ("kallsyms", "early")
    assert named(table, 0xFFFF_FFFF_8000_2000) is None
    assert named(table, 0xFFFF_FFFF_0100_00FE) == ("[virtio_blk]", "probe")
    assert named(table, 0xFFFF_FFFF_0100_0100) is None
    assert named(table, 0x1000) is None


LISTS = {
    "nm": "80000000 T _start\n80001000 t f\n80002000 D table\n                 U printf\n",
    "nm -n": "                 U printf\n                 w gone\n80000000 T _start\n80001000 t f\n"
    "80002000 D table\n",
    "nm -S": "0000000080000000 0000000000001000 T _start\n0000000080001000 0000000000001000 t f\n"
    "0000000080002000 D table\n",
    "nm -P": "_start T 80000000 1000\nf t 80001000 1000\ntable D 80002000 \nprintf U         \n",
    "nm -A": "a:80000000 T _start\na:80001000 t f\na:80002000 D table\na:     U printf\n",
    "nm -l": "80000000 T _start\t/src/a.c:1\n80001000 t f\t/src/a.c:7\n80002000 D table\n",
    "readelf": "\nSymbol table '.symtab' contains 4 entries:\n"
    "   Num:    Value          Size Type    Bind   Vis      Ndx Name\n"
    "     0: 0000000000000000     0 NOTYPE  LOCAL  DEFAULT  UND \n"
    "     1: 0000000080000000  4096 FUNC    GLOBAL DEFAULT    1 _start\n"
    "     2: 0000000080001000     0 NOTYPE  LOCAL  DEFAULT    1 f\n"
    "     3: 0000000080002000     8 OBJECT  GLOBAL DEFAULT    2 table\n",
    "objdump": "\na.elf:     file format elf64-littleriscv\n\nSYMBOL TABLE:\n"
    "0000000080000000 g     F .text\t0000000000001000 _start\n"
    "0000000080001000 l       .text\t0000000000000000 .hidden f\n"
    "0000000080002000 g     O .data\t0000000000000008 table\n",
    "CR LF": "80000000 T _start\r\n80001000 t f\r\n80002000 D table\r\n\r\n",
    "blank lines": "\n80000000 T _start\n\n80001000 t f\n80002000 D table\n\n\n",
    "a mark in front": "\ufeff80000000 T _start\n80001000 t f\n80002000 D table\n",
    "capitals": "00000000800000AC t other\n0000000080000000 T _start\n80001000 t f\n80002000 D t\n",
    "the tools' own": "80000000 t $x\n80000000 T _start\n80000100 t .L1\n80001000 t f\n"
    "80002000 D table\n",
}


@pytest.mark.parametrize("form", LISTS)
def test_lists_of_every_form(tmp_path: Path, form: str, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "names"
    path.write_text(LISTS[form])
    table = load_symbols(str(path))
    assert named(table, 0x8000_0000) == ("names", "_start")
    assert named(table, 0x8000_1004) == ("names", "f")
    assert named(table, 0x8000_2000) is None
    assert not caplog.text


def test_names_with_blanks(tmp_path: Path) -> None:
    path = tmp_path / "names"
    path.write_text(
        "80000000 T operator new(unsigned long)\n80001000 t f(int, char*) [clone .part.0]\n"
        "80002000 t probe\t[virtio_blk]\n80003000 t old [ext4]\n"
    )
    table = load_symbols(str(path))
    assert named(table, 0x8000_0000) == ("names", "operator new(unsigned long)")
    assert named(table, 0x8000_1000) == ("names", "f(int, char*) [clone .part.0]")
    assert named(table, 0x8000_2000) == ("[virtio_blk]", "probe")
    assert named(table, 0x8000_3000) == ("[ext4]", "old")


def test_names_that_look_like_numbers(tmp_path: Path) -> None:
    path = tmp_path / "names"
    path.write_text("add T 80000000 10\nface t 80000010 10\n")
    assert named(load_symbols(str(path)), 0x8000_0008) == ("names", "add")
    path.write_text("80000000 T add\n80000010 T face\n")
    assert named(load_symbols(str(path)), 0x8000_0018) == ("names", "face")


def test_odd_lines_are_passed_over_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "names"
    path.write_text("# made by hand\n80000000 T _start\nwhat is this?\n80000100 T f\nT\n")
    assert named(load_symbols(str(path)), 0x8000_0100) == ("names", "f")
    assert "names: lines that name no symbol are passed over: 3" in caplog.text


@pytest.mark.parametrize(
    "command", ["nm", "nm -S", "nm -C", "nm -n", "nm -P", "nm -A", "readelf -sW", "objdump -t"]
)
def test_what_tools_list_is_what_the_file_has(
    vmlinux: Path, tmp_path: Path, command: str, caplog: pytest.LogCaptureFixture
) -> None:
    program, *options = command.split()
    need(f"riscv64-linux-gnu-{program}")
    done = subprocess.run(
        [f"riscv64-linux-gnu-{program}", *options, str(vmlinux)], capture_output=True, check=True
    )
    path = tmp_path / "names"
    path.write_bytes(done.stdout)
    table = load_symbols(str(path))
    for address in (0x8000_0000, 0x8000_0008, 0x8000_0040):
        expected = named(load_symbols(str(vmlinux)), address)
        assert expected is not None
        assert named(table, address) == ("names", expected[1])
    assert not caplog.text


def test_the_last_symbol_of_unknown_size_has_a_page() -> None:
    table = SymbolTable([Symbol(0x1000, 0, "last", "f")])
    assert named(table, 0x1FFF) == ("f", "last")
    assert named(table, 0x2000) is None


def test_a_name_with_a_size_goes_before_one_without() -> None:
    table = SymbolTable([Symbol(0x1000, 0, "label", "f"), Symbol(0x1000, 8, "function", "f")])
    assert named(table, 0x1004) == ("f", "function")
    assert named(table, 0x1008) is None


@pytest.fixture(scope="module")
def vmlinux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`SOURCE`, assembled and linked."""
    need("riscv64-linux-gnu-as", "riscv64-linux-gnu-ld")
    folder = tmp_path_factory.mktemp("elf")
    (folder / "a.s").write_text(SOURCE)
    for command in ("as -o a.o a.s", "ld -Ttext=0x80000000 -o vmlinux a.o"):
        subprocess.run(f"riscv64-linux-gnu-{command}".split(), cwd=folder, check=True)
    return folder / "vmlinux"


def test_an_elf_file(vmlinux: Path, tmp_path: Path) -> None:
    packed = tmp_path / "vmlinux.gz"
    packed.write_bytes(gzip.compress(vmlinux.read_bytes()))
    for path in (vmlinux, packed):
        table = load_symbols(str(path))
        assert named(table, 0x8000_0004) == (path.name, "_start")
        assert named(table, 0x8000_000C) == (path.name, "helper")
        assert named(table, 0x8000_0010) is None
        assert named(table, 0x8000_0040) == (path.name, "last")
    stripped = tmp_path / "stripped"
    subprocess.run(["riscv64-linux-gnu-strip", "-o", stripped, vmlinux], check=True)
    with pytest.raises(BimetalError, match="names no code"):
        load_symbols(str(stripped))


def test_no_damage_breaks_the_reader(vmlinux: Path) -> None:
    whole = vmlinux.read_bytes()
    chance, refused = random.Random(0), 0
    for _ in range(1000):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            # Most of what is read are the ELF header and the section headers at the end.
            at = chance.choice([chance.randrange(64), -1 - chance.randrange(1000)])
            data[at] = chance.choice([0, 0xFF, chance.randrange(256)])
        try:
            elf_symbols(bytes(data), "vmlinux")
        except BimetalError:
            refused += 1
    assert 0 < refused < 1000


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "is empty"),
        (DEBIAN, "only says that Debian has the real one elsewhere"),
        (b"The first line\nof a text.\n", "is neither an ELF file nor a list of symbols"),
        (b"\xff\xfe" * 100, "is neither an ELF file nor a list of symbols"),
        (b"                 U printf\n", "is neither an ELF file nor a list of symbols"),
        (b"0000000000000000 T _start\n0000000000000000 t early\n", "hides all addresses"),
        (b"0000000080000000 D table\n", "names no code"),
        (b"\x7fELF and no more", "is a damaged ELF file"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, content: bytes, cause: str) -> None:
    path = tmp_path / "names"
    path.write_bytes(content)
    with pytest.raises(BimetalError, match=cause) as caught:
        load_symbols(str(path))
    assert caught.value.remedy
