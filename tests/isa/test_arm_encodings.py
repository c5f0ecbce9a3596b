"""Encodings and texts of A64: invertible, disjoint, and those that the GNU assembler makes."""

from __future__ import annotations

import io
import itertools
import random
import re
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from bimetal.isa.arm import a64
from bimetal.isa.describe import Insn
from tests.host import programs

PC = 0x8000_1000
ASSEMBLER = "aarch64-linux-gnu-as"
ARCHITECTURE = (
    "armv8.8-a+crypto+sha3+sm4+rng+flagm+memtag+sb+ssbs+predres+profile+i8mm+bf16+fp16fml"
)
"""What GNU's assembler of Debian 12 is asked to know."""

WITHOUT_XS = {insn.name: insn for insn in a64.insns if re.match("tlbi.*nxs", insn.name)}
NOT_GNUS = {
    "udf",
    *WITHOUT_XS,
    *("mrs_id_aa64zfr0_el1", "mrs_id_aa64smfr0_el1", "mrs_id_aa64mmfr3_el1"),
}
"""Texts that this assembler does not read, or reads as another form of the same instruction."""


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


@pytest.mark.parametrize("insn", a64.insns, ids=lambda insn: insn.name)
def test_decoding_and_assembling_undo_each_other(insn: Insn) -> None:
    for fields in samples(insn, 12):
        word = insn.pattern.encode(fields)
        decoded = a64.decode(word)
        assert decoded is not None
        if decoded.insn is not insn:
            # A more specific description has taken this word.
            assert insn.pattern.mask & ~decoded.insn.pattern.mask == 0
            continue
        assert decoded.fields == fields
        text = decoded.text(PC)
        again = a64.decode(int.from_bytes(a64.assemble(text, PC), "little"))
        assert again is not None
        assert again.text(PC) == text


def test_tlbi_without_xs_is_encoded_beside_the_usual_one() -> None:
    """CRn is 9 instead of 8 (C5.5)."""
    usual = {insn.name: insn.pattern.match for insn in a64.insns}
    assert len(WITHOUT_XS) == len([name for name in usual if name.startswith("tlbi_")]) // 2
    for name, insn in WITHOUT_XS.items():
        assert insn.pattern.match == usual[name.removesuffix("nxs")] | 1 << 12


def test_no_word_has_two_meanings() -> None:
    """Two descriptions meet only where one is a special case of the other, or ``where`` parts
    them."""
    for a, b in itertools.combinations(a64.insns, 2):
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
    if insn.name in NOT_GNUS or "page" in insn.template.text:
        return False
    one_bit = re.match(r"msr (uao|pan|ssbs|dit|spsel)", insn.template.text)
    return not one_bit or fields.get("imm", 0) < 2


def _source(insn: Insn, fields: dict[str, int]) -> str:
    """A line for the assembler; addresses are distances from where it stands."""
    text = insn.template.show(fields, insn.pattern.widths, 0)
    relative = {id(a64.kinds["rel"]), id(a64.kinds["page"])}
    if any(id(kind) in relative for _, kind in insn.template.operands):
        text = re.sub(r"0x[0-9a-f]+$", lambda match: _as_offset(int(match[0], 16)), text)
    return text + "\n"


def _as_offset(address: int) -> str:
    return f". + {address - (address >> 63 << 64)}"


@programs(ASSEMBLER)
def test_gnu_assembler_agrees(tmp_path: Path) -> None:
    table = [
        (insn, fields)
        for insn in a64.insns
        for fields in samples(insn, 8)
        if _accepted(insn, fields)
    ]
    source, made = tmp_path / "all.s", tmp_path / "all.o"
    source.write_text("".join(_source(insn, fields) for insn, fields in table))
    command = [ASSEMBLER, f"-march={ARCHITECTURE}", "-o", str(made), str(source)]
    subprocess.run(command, check=True)
    code = ELFFile(io.BytesIO(made.read_bytes())).get_section_by_name(".text").data()
    assert len(code) == 4 * len(table)
    for at, (insn, fields) in zip(range(0, len(code), 4), table, strict=True):
        text = insn.template.show(fields, insn.pattern.widths, 0)
        word = a64.assemble(text) if "rel" not in insn.template.text else None
        expected = word or insn.pattern.encode(fields).to_bytes(4, "little")
        assert code[at : at + 4] == expected, text
