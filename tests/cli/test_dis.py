"""``bimetal dis``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Cli

ADDI = "  00150513  addi a0, a0, 1"


@pytest.mark.parametrize("text", ["13051500", "13 05 15 00", "0x00150513", "0x0015_0513"])
def test_bytes_and_words(cli: Cli, text: str) -> None:
    assert cli("dis", text).out == f"           0:{ADDI}\n"


def test_an_address_moves_targets(cli: Cli) -> None:
    shown = cli("dis", "0x0000006f", "--address", "0x80000000").out
    assert shown == "    80000000:  0000006f  jal zero, 0x80000000\n"


def test_control_registers_have_names(cli: Cli) -> None:
    assert cli("dis", "0x30059573").out == "           0:  30059573  csrrw a0, mstatus, a1\n"


def test_a_raw_file(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "code.bin"
    path.write_bytes(bytes.fromhex("13051500 0145"))
    lines = cli("dis", str(path)).out.splitlines()
    assert lines[0] == f"           0:{ADDI}"
    assert lines[1].startswith("           4:  4501      ")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["zz"], 64, "neither a file nor hexadecimal bytes"),
        (["123"], 64, "neither a file nor hexadecimal bytes"),
        (["00", "--arch", "z80"], 64, "no instruction set 'z80'"),
        (["00", "--address", "here"], 64, "'here' is no address"),
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
