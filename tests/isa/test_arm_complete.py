"""What is said to be there is there: GNU's tools know the instructions of each extension.

Its disassembler names the words that mean anything, whatever the processor; its assembler takes
the texts of those that a list of extensions has. Of these none may be missing.
"""

from __future__ import annotations

import random
import re
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bimetal.isa.arm import a64
from bimetal.isa.describe import Insn
from tests.host import programs

DISASSEMBLER, ASSEMBLER = "aarch64-linux-gnu-objdump", "aarch64-linux-gnu-as"

ELSEWHERE = r"f|scvtf|ucvtf|bf|mrs|msr|sys"
"""Mnemonics that begin so are floating point, or of the system."""

CLAIMED = {
    "Advanced SIMD": ("armv8-a+simd+crypto", rf"(?!{ELSEWHERE})\S+ .*\b[vbhsdq]\d"),
    "cryptography": (
        "armv8.6-a+crypto+sha3+sm4",
        r"(aes|sha|sm3|sm4|eor3|bcax|rax1|xar|pmull)\S* ",
    ),
    "DotProd": ("armv8.2-a+dotprod", r"[su]dot "),
    "FlagM, FlagM2": ("armv8.5-a+flagm", r"cfinv|rmif|setf\d|axflag|xaflag"),
    "FRINTTS, JSCVT": ("armv8.5-a", r"frint(32|64)|fjcvtzs"),
    "SB": ("armv8.5-a+sb", r"sb$"),
    "I8MM": ("armv8.2-a+i8mm", r"(us|su)dot |(s|u|us)mmla "),
    "XS": ("armv8.7-a", r"dsb .*nxs"),
    "LRCPC, LRCPC2": ("armv8.4-a", r"ldapu?r|stlur"),
    "MOPS": ("armv8-a+mops", r"cpy|set[pmeg]"),
    "FP16": ("armv8.2-a+fp16", r"(f(?!ml[as]l|cmla|cadd|rint\d)|[su]cvtf).*"),
    "FHM": ("armv8.2-a+fp16fml", r"fml[as]l"),
    "FCMA": ("armv8.3-a+fp16", r"fcadd|fcmla"),
    "BF16": ("armv8.2-a+bf16", r"bf(cvt|dot|mmla|mlal)"),
    "A64": ("armv8.2-a", r"(?!mrs|msr|sys|dcps)"),
    "RDM": ("armv8-a+rdma", r"sqrdml[as]h "),
}
"""Extensions that are described as a whole: what the assembler calls it, and their texts."""


class Known:
    """Descriptions by the literal bits of their encodings."""

    def __init__(self) -> None:
        self._by_mask: dict[int, dict[int, list[Insn]]] = {}
        for insn in a64.insns:
            pattern = insn.pattern
            self._by_mask.setdefault(pattern.mask, {}).setdefault(pattern.match, []).append(insn)

    def __contains__(self, word: int) -> bool:
        return any(
            insn.admits(insn.pattern.decode(word) or {})
            for mask, insns in self._by_mask.items()
            for insn in insns.get(word & mask, ())
        )


def readable(text: str) -> bool:
    """Whether a description reads a text: of what has bits that should be ones, and are not."""
    try:
        return bool(a64.assemble(text))
    except ValueError:
        return False


def shaped(text: str) -> str:
    """A text without the numbers in it: what is of one shape is one instruction."""
    return re.sub(r"(?<![a-z])-?(?:0x[0-9a-f]+|\d[\d.e+-]*)|(?<=\b[a-z])\d+", "", text)


LOW = 1 << 5 | 2
"""What words have in their lowest ten bits, where the numbers of registers are."""


def words() -> Iterator[int]:
    """Every word of SIMD that ends so, some of all others, and what has no register."""
    rng = random.Random(0)
    for high in range(1 << 22):
        group = high >> 15 & 15
        if group in (7, 15) or (group > 3 and rng.random() < 0.03):
            yield high << 10 | LOW
    yield from range(0xD500_001F, 0xD510_0000, 1 << 5)  # hints, barriers, PSTATE: no register


def disassembled(directory: Path, found: Iterator[int]) -> Iterator[tuple[int, str]]:
    """The words that GNU's disassembler has a text for, without aliases."""
    program = directory / "words"
    program.write_bytes(b"".join(struct.pack("<I", word) for word in found))
    options = ["-b", "binary", "-m", "aarch64", "-D", "-M", "no-aliases"]
    done = subprocess.run(
        [DISASSEMBLER, *options, str(program)], capture_output=True, text=True, check=True
    )
    for line in done.stdout.splitlines():
        _, _, rest = line.partition(":\t")
        word, _, text = rest.partition("\t")
        if text and not text.startswith((".inst", "undefined")):
            yield int(word, 16), text.partition("//")[0].replace("\t", " ").strip()


def accepted(directory: Path, march: str, texts: list[str]) -> set[str]:
    """The texts that the assembler takes for an architecture."""
    source = directory / "texts.s"
    source.write_text("".join(f"{text}\n" for text in texts))
    command = [ASSEMBLER, f"-march={march}", "-o", str(directory / "texts.o"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    refused = {int(line) - 1 for line in re.findall(r":(\d+): Error", done.stderr)}
    return {text for number, text in enumerate(texts) if number not in refused}


Shapes = dict[str, tuple[str, bool]]
"""By shape: a text, and whether there is a description of it; one that is missing, if any is."""


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Shapes:
    """All that the disassembler knows."""
    directory, known = tmp_path_factory.mktemp("words"), Known()
    found: Shapes = {}
    for word, text in disassembled(directory, words()):
        shape, there = shaped(text), word in known
        if found.get(shape, ("", True))[1]:
            found[shape] = (text, there)
    return found


@programs(DISASSEMBLER, ASSEMBLER)
@pytest.mark.parametrize("extension", CLAIMED)
def test_is_complete(extension: str, shapes: Shapes, tmp_path: Path) -> None:
    march, pattern = CLAIMED[extension]
    texts = [text for text, _ in shapes.values() if re.match(pattern, text)]
    belonging = accepted(tmp_path, march, texts)
    assert belonging
    missing = [text for text, there in shapes.values() if text in belonging and not there]
    assert not [text for text in missing if not readable(text)]
