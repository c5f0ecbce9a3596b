"""SHA256 (FEAT_SHA256): four rounds, and the schedule of message words (FIPS 180-4, 6.2)."""

from __future__ import annotations

from ....ir.compound import compound
from ....ir.value import Value
from ....ir.vector import element, lanes, shuffle
from ...trace import Cpu
from ..fp_access import need_fp
from ..hashing import choice, majority, rotated_right, small_sigma, words_of
from ..state import a64


def _rounds(abcd: Value, efgh: Value, words: Value) -> tuple[Value, Value]:
    """Both halves of the state after four rounds with the sums of words and constants."""
    a, b, c, d = (element(abcd, 32, n) for n in range(4))
    e, f, g, h = (element(efgh, 32, n) for n in range(4))
    for n in range(4):
        first = h + rotated_right(e, 6, 11, 25) + choice(e, f, g) + element(words, 32, n)
        second = rotated_right(a, 2, 13, 22) + majority(a, b, c)
        a, b, c, d, e, f, g, h = first + second, a, b, c, d + first, e, f, g
    return words_of(a, b, c, d), words_of(e, f, g, h)


def _abcd(abcd: Value, efgh: Value, words: Value) -> Value:
    return _rounds(abcd, efgh, words)[0]


def _efgh(abcd: Value, efgh: Value, words: Value) -> Value:
    return _rounds(abcd, efgh, words)[1]


@a64.insn("01011110 00 0 Rm:5 0 100 00 Rn:5 Rd:5", "sha256h {Rd:q}, {Rn:q}, {Rm:v}.4s")
def sha256h(cpu: Cpu, Rm: Value, Rn: Value, Rd: Value) -> None:
    need_fp(cpu)
    cpu.v[Rd] = compound("sha256_abcd", _abcd, cpu.v[Rd], cpu.v[Rn], cpu.v[Rm])


@a64.insn("01011110 00 0 Rm:5 0 101 00 Rn:5 Rd:5", "sha256h2 {Rd:q}, {Rn:q}, {Rm:v}.4s")
def sha256h2(cpu: Cpu, Rm: Value, Rn: Value, Rd: Value) -> None:
    need_fp(cpu)
    cpu.v[Rd] = compound("sha256_efgh", _efgh, cpu.v[Rn], cpu.v[Rd], cpu.v[Rm])


@a64.insn("01011110 00 10100 00010 10 Rn:5 Rd:5", "sha256su0 {Rd:v}.4s, {Rn:v}.4s")
def sha256su0(cpu: Cpu, Rn: Value, Rd: Value) -> None:
    need_fp(cpu)
    words = cpu.v[Rd]
    following = shuffle(32, (1, 2, 3, 4), words, cpu.v[Rn])
    cpu.v[Rd] = lanes("add", 32, words, small_sigma(32, following, 7, 18, 3))


@a64.insn("01011110 00 0 Rm:5 0 110 00 Rn:5 Rd:5", "sha256su1 {Rd:v}.4s, {Rn:v}.4s, {Rm:v}.4s")
def sha256su1(cpu: Cpu, Rm: Value, Rn: Value, Rd: Value) -> None:
    need_fp(cpu)
    last = cpu.v[Rm]
    total = lanes("add", 32, cpu.v[Rd], shuffle(32, (1, 2, 3, 4), cpu.v[Rn], last))
    low = lanes("add", 32, total, small_sigma(32, shuffle(32, (2, 3, 2, 3), last), 17, 19, 10))
    # The upper two words need the lower two.
    high = lanes("add", 32, total, small_sigma(32, shuffle(32, (0, 1, 0, 1), low), 17, 19, 10))
    cpu.v[Rd] = shuffle(32, (0, 1, 6, 7), low, high)
