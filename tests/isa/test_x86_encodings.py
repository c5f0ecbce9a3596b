"""Encodings and texts of x86: invertible, disjoint, and those that GNU's tools print."""

from __future__ import annotations

import itertools
import random
import re
import subprocess
from pathlib import Path

import pytest

from bimetal.ir.check import check
from bimetal.isa.describe import Insn
from bimetal.isa.x86 import x86
from bimetal.isa.x86.fields import FIELDS
from tests.host import programs

from .x86_words import random_code

MODES = {"64-bit": 0, "32-bit, flat": 1, "32-bit": 2, "16-bit": 3}


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_encoding_undoes_decoding(mode: int) -> None:
    """To the same fields: the same instruction may have longer encodings."""
    rng, seen = random.Random(mode), 0
    for _ in range(400):
        raw = random_code(rng)
        word, length = x86.word_of(int.from_bytes(raw, "little"), mode)
        decoded = x86.decode(word)
        if decoded is None or decoded.insn.name == "too_long" or mode == 3:
            continue
        assert x86.unscan is not None
        again, shorter = x86.word_of(int.from_bytes(x86.unscan(word), "little"), mode)
        lengths = x86_length(word), x86_length(again)
        assert lengths[1] <= lengths[0] == length
        assert shorter == lengths[1]
        assert without_length(again) == without_length(word), raw.hex(" ")
        seen += 1
    assert seen > 50 or mode == 3


LENGTH = sum(list(FIELDS.values())[: list(FIELDS).index("length")])


def x86_length(word: int) -> int:
    return word >> LENGTH & 15


def without_length(word: int) -> int:
    return word & ~(15 << LENGTH)


def test_no_word_has_two_meanings() -> None:
    """Two descriptions meet only where one is a special case of the other, or ``where`` parts
    them."""
    by_place: dict[int, list[Insn]] = {}
    for insn in x86.insns:
        by_place.setdefault(insn.pattern.match & 0x7FF, []).append(insn)
    for group in by_place.values():
        for a, b in itertools.combinations(group, 2):
            p, q = a.pattern, b.pattern
            common = p.mask & q.mask
            assert (p.match ^ q.match) & common or common in (p.mask, q.mask), (a.name, b.name)


@pytest.mark.parametrize("insn", x86.insns, ids=lambda insn: insn.name)
def test_reads_computes_and_writes(insn: Insn) -> None:
    """Nothing that can fault, or is left to slow code, comes after a write."""
    for block in insn.variants().values():
        assert not check(block, insn.restartable, slow_first=True)


@programs("objdump")
@pytest.mark.parametrize(("mode", "machine"), [(0, "i386:x86-64"), (1, "i386"), (3, "i8086")])
def test_texts_are_those_of_objdump(mode: int, machine: str, tmp_path: Path) -> None:
    rng, texts, code = random.Random(mode), [], b""
    for _ in range(600):
        raw = random_code(rng)
        at = len(code)
        found = next(x86.disassemble(raw, at, mode))
        prefixed_wait = found[2] == "fwait" and len(found[1]) > 1  # two instructions, they say
        if (
            prefixed_wait
            or found[2].startswith(NOT_GNUS)
            or (not mode and DEAD_REX.match(found[1]))
        ):
            continue
        texts.append(found[2])
        code += found[1]
    (tmp_path / "code").write_bytes(code)
    command = ["objdump", "-D", "-w", "-b", "binary", "-m", machine, "-M", "intel,intel64"]
    command.append(str(tmp_path / "code"))
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = (line.split("\t") for line in said.splitlines() if line.count("\t") == 2)
    lines = [row[2].split("#")[0] for row in rows]
    wrong = [
        (ours, theirs)
        for ours, theirs in zip(texts, map(normal, lines), strict=False)
        if normal(ours) != theirs
    ]
    assert not wrong[:3], len(wrong)


def normal(text: str) -> str:
    """Without what differs for no reason of ours."""
    text = IDLE.sub("", " ".join(text.split()).replace(", ", ","))
    text = re.sub(r"^xchg ([er]?)ax,\1ax$", "nop", text)
    text = SAID.sub(
        lambda said: f"{said[1]}{said[3]}{said[4]},{PREDICATES.index(said[2]):#x}", text
    )
    text = HALVES.sub(lambda said: f"{said[1]}pclmulqdq{said[4]},{HALF[said[2], said[3]]:#x}", text)
    return SIZED.sub(r"\1", NO_INDEX.sub("", text))


PREDICATES = (
    *("eq lt le unord neq nlt nle ord eq_uq nge ngt false neq_oq ge gt true".split()),
    *("eq_os lt_oq le_oq unord_s neq_us nlt_uq nle_uq ord_s eq_us nge_uq ngt_uq".split()),
    *("false_os neq_os ge_oq gt_oq true_us".split()),
)
SAID = re.compile(rf"^(v?cmp)({'|'.join(sorted(PREDICATES, reverse=True))})([ps][sd])( .*)$")
"""Comparisons whose predicate is part of the name."""
HALF = {("l", "l"): 0, ("h", "l"): 1, ("l", "h"): 16, ("h", "h"): 17}
HALVES = re.compile(r"^(v?)pclmul([lh])q([lh])qdq( .*)$")
IDLE = re.compile(r"^((fs|data16|data32|addr16|addr32|rex[.WRXB]*) )+")
"""Prefixes that mean nothing there."""
DEAD_REX = re.compile(rb"[\x64-\x67]*[@-O][\x40-\x4f\x64-\x67\xf0\xf2\xf3\x2e\x3e]")
NO_INDEX = re.compile(r"\+[er]iz\*\d")
NOT_GNUS = (".byte", "too long", "salc", "nop ", "lfence", "mfence", "sfence", "wbinvd")
"""What these tools know under another name, or in one form of several alone."""
SIZED = re.compile(
    r"^(fldenv|fnstenv|fnsave|frstor|push|pop|ret|call|jmp|enter|leave|iret|pusha|popa|pushf|popf"
    r"|retf|lret|[sl][gi]dt|sysret|sysexit)[wdq]\b"
)
"""Instructions whose size is told where it is not the usual one."""
