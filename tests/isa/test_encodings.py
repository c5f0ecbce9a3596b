"""Encodings and texts of RISC-V: invertible, disjoint, and those that the GNU assembler makes."""

from __future__ import annotations

import io
import itertools
import random
import re
import struct
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from bimetal.isa.describe import Insn
from bimetal.isa.riscv import rv64
from bimetal.isa.riscv.state import CSR_NAMES
from tests.host import programs

PC = 0x8000_1000
ASSEMBLER = "riscv64-linux-gnu-as"


def samples(insn: Insn, count: int) -> list[dict[str, int]]:
    """Random fields of an instruction, always the same ones."""
    rng = random.Random(insn.template.text)
    found: list[dict[str, int]] = []
    while len(found) < count:
        fields = {
            name: rng.getrandbits(width) & insn.pattern.field_mask(name)
            for name, width in insn.pattern.widths.items()
        }
        if insn.admits(fields):
            found.append(fields)
    return found


@pytest.mark.parametrize("insn", rv64.insns, ids=lambda insn: insn.name)
def test_decoding_and_assembling_undo_each_other(insn: Insn) -> None:
    for fields in samples(insn, 24):
        word = insn.pattern.encode(fields)
        assert rv64.word_of(word) == (word, insn.length)
        decoded = rv64.decode(word)
        if decoded is not None and decoded.insn is not insn:
            # A more specific description has taken this word.
            assert insn.pattern.mask & ~decoded.insn.pattern.mask == 0
            continue
        assert decoded is not None
        assert decoded.fields == fields
        assert rv64.assemble(decoded.text(PC), PC) == word.to_bytes(insn.length, "little")


def test_no_word_has_two_meanings() -> None:
    """Two descriptions meet only where one is a special case of the other, or ``where`` parts
    them."""
    for a, b in itertools.combinations(rv64.insns, 2):
        p, q = a.pattern, b.pattern
        common = p.mask & q.mask
        if (p.match ^ q.match) & common or common in (p.mask, q.mask):
            continue
        free = random.Random(0)
        for _ in range(64):
            word = free.getrandbits(32) & ~(p.mask | q.mask) | p.match | q.match
            both = [insn for insn in (a, b) if insn.admits(insn.pattern.decode(word) or {})]
            assert len(both) < 2, f"{a.name} and {b.name} claim {word:#x}"


def _accepted(insn: Insn, fields: dict[str, int]) -> bool:
    """Whether the GNU assembler has a way to write this."""
    if "reserved" in insn.name or insn.extension == "zicond":
        return False
    if insn.name == "fence":
        return bool(fields["pred"] and fields["succ"])
    if insn.length == 2 and fields.get("shamt") == 0:
        return False
    exact = "rm_exact" in insn.template.text
    return fields.get("rm", 0) not in ((1, 2, 3, 4, 5, 6, 7) if exact else (5, 6))


def _as_offset(match: re.Match[str]) -> str:
    value = int(match[0], 16)
    return f". + {value - (value >> 63 << 64)}"


def _source(insn: Insn, fields: dict[str, int]) -> str:
    text = insn.template.show(fields, insn.pattern.widths, 0)
    if any(kind is rv64.kinds["rel"] for _, kind in insn.template.operands):
        text = re.sub(r"0x[0-9a-f]+$", _as_offset, text)
    return f".option {'rvc' if insn.length == 2 else 'norvc'}\n{text}\n"


@programs(ASSEMBLER)
def test_gnu_assembler_agrees(tmp_path: Path) -> None:
    table = [
        (insn, fields)
        for insn in rv64.insns
        for fields in samples(insn, 16)
        if _accepted(insn, fields)
    ]
    source, made = tmp_path / "all.s", tmp_path / "all.o"
    source.write_text(
        ".option norelax\n" + "".join(_source(insn, fields) for insn, fields in table)
    )
    march = "rv64gc_zba_zbb_zbc_zbs_zbkb_zbkx_zfh_zicbom_zicboz_zihintpause"
    command = [ASSEMBLER, f"-march={march}", "-o", str(made), str(source)]
    subprocess.run(command, check=True)
    code = ELFFile(io.BytesIO(made.read_bytes())).get_section_by_name(".text").data()
    at = 0
    for insn, fields in table:
        word = insn.pattern.encode(fields)
        text = insn.template.show(fields, insn.pattern.widths, 0)
        assert code[at : at + insn.length] == word.to_bytes(insn.length, "little"), text
        at += insn.length
    assert at == len(code)


def test_csrs_are_called_by_name_or_number() -> None:
    named = rv64.assemble("csrrw a0, mstatus, a1")
    assert [text for _, _, text in rv64.disassemble(named)] == ["csrrw a0, mstatus, a1"]
    assert rv64.assemble("csrrw a0, 0x300, a1") == named
    unknown = rv64.assemble("csrrs a0, 0x5c0, zero")
    assert [text for _, _, text in rv64.disassemble(unknown)] == ["csrrs a0, 0x5c0, zero"]
    with pytest.raises(ValueError, match="csrrs"):
        rv64.assemble("csrrs a0, 0x1000, zero")


@programs(ASSEMBLER)
def test_gnu_assembler_knows_csrs_by_the_same_names(tmp_path: Path) -> None:
    source, made = tmp_path / "csrs.s", tmp_path / "csrs.o"
    source.write_text("".join(f"csrrwi zero, {name}, 0\n" for name in CSR_NAMES.values()))
    subprocess.run([ASSEMBLER, "-march=rv64g", "-o", str(made), str(source)], check=True)
    code = ELFFile(io.BytesIO(made.read_bytes())).get_section_by_name(".text").data()
    assert [word >> 20 for (word,) in struct.iter_unpack("<I", code)] == list(CSR_NAMES)
