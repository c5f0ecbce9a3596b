"""SHA512 (FEAT_SHA512): two rounds, and the schedule of message words (FIPS 180-4, 6.4)."""

from __future__ import annotations

from ....ir.value import Value
from ....ir.vector import element, lanes
from ...trace import Cpu
from ..fp_access import need_fp
from ..hashing import choice, majority, rotated_right, small_sigma, words_of
from ..state import a64


def _halves(value: Value) -> tuple[Value, Value]:
    """The lower and the upper half."""
    return element(value, 64, 0), element(value, 64, 1)


@a64.insn("11001110 011 Rm:5 1 0 00 00 Rn:5 Rd:5", "sha512h {Rd:q}, {Rn:q}, {Rm:v}.2d")
def sha512h(cpu: Cpu, Rm: Value, Rn: Value, Rd: Value) -> None:
    """What both rounds add to d: h with the words in Rd, g and f in Rn, d and e in Rm."""
    need_fp(cpu)
    second, first = _halves(cpu.v[Rd])
    f, g = _halves(cpu.v[Rn])
    d, e = _halves(cpu.v[Rm])
    high = first + rotated_right(e, 14, 18, 41) + choice(e, f, g)
    next_e = high + d
    low = second + rotated_right(next_e, 14, 18, 41) + choice(next_e, e, f)
    cpu.v[Rd] = words_of(low, high)


@a64.insn("11001110 011 Rm:5 1 0 00 01 Rn:5 Rd:5", "sha512h2 {Rd:q}, {Rn:q}, {Rm:v}.2d")
def sha512h2(cpu: Cpu, Rm: Value, Rn: Value, Rd: Value) -> None:
    """The new a of both rounds: c in Rn, a and b in Rm, and in Rd what `sha512h` gave."""
    need_fp(cpu)
    second, first = _halves(cpu.v[Rd])
    c = cpu.v[Rn].trunc(64)
    a, b = _halves(cpu.v[Rm])
    high = first + rotated_right(a, 28, 34, 39) + majority(a, b, c)
    low = second + rotated_right(high, 28, 34, 39) + majority(high, a, b)
    cpu.v[Rd] = words_of(low, high)


@a64.insn("11001110 110 00000 1000 00 Rn:5 Rd:5", "sha512su0 {Rd:v}.2d, {Rn:v}.2d")
def sha512su0(cpu: Cpu, Rn: Value, Rd: Value) -> None:
    need_fp(cpu)
    words = cpu.v[Rd]
    following = words_of(element(words, 64, 1), element(cpu.v[Rn], 64, 0))
    cpu.v[Rd] = lanes("add", 64, words, small_sigma(64, following, 1, 8, 7))


@a64.insn("11001110 011 Rm:5 1 0 00 10 Rn:5 Rd:5", "sha512su1 {Rd:v}.2d, {Rn:v}.2d, {Rm:v}.2d")
def sha512su1(cpu: Cpu, Rm: Value, Rn: Value, Rd: Value) -> None:
    need_fp(cpu)
    total = lanes("add", 64, cpu.v[Rd], cpu.v[Rm])
    cpu.v[Rd] = lanes("add", 64, total, small_sigma(64, cpu.v[Rn], 19, 61, 6))
