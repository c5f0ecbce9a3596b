"""Names of code, from ELF files and from lists."""

from __future__ import annotations

import gzip
import random
import subprocess
from pathlib import Path

import pytest

from bimetal.base.errors import BimetalError
from bimetal.firmware.symbols import Symbol, SymbolTable, elf_symbols, load_symbols
from tests.host import need

KALLSYMS = """\
ffffffff80000000 T _start
ffffffff80001000 t early
ffffffff80001000 T alias
ffffffff80002000 D table
ffffffff01000000 t probe	[virtio_blk]
ffffffff01000100 b state	[virtio_blk]
"""

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
        (b"ffffffff80000000 T _start\n\nT\n", "has a line 2"),
        (b"ffffffffffffffff B The real System.map is elsewhere\n", "has a line 1"),
        (b"\xff\xfe" * 100, "has a line 1"),
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
