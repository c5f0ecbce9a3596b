"""SHA1 (FEAT_SHA1): four rounds, and the schedule of message words (FIPS 180-4, 6.1)."""

from __future__ import annotations

from collections.abc import Callable

from ....ir.value import Value, const
from ....ir.vector import element, lanes, shuffle
from ...trace import Cpu
from ..fp_access import need_fp
from ..hashing import choice, majority, parity, rotated_left, words_of
from ..state import a64
from .simd import write


def _rounds(name: str, opcode: str, mixed: Callable[[Value, Value, Value], Value]) -> None:
    @a64.insn(
        f"01011110 00 0 Rm:5 0 {opcode} 00 Rn:5 Rd:5", f"{name} {{Rd:q}}, {{Rn:s_}}, {{Rm:v}}.4s"
    )
    def meaning(cpu: Cpu, Rm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        a, b, c, d = (element(cpu.v[Rd], 32, n) for n in range(4))
        e, words = cpu.v[Rn].trunc(32), cpu.v[Rm]
        for n in range(4):
            total = e + rotated_left(a, 5) + mixed(b, c, d) + element(words, 32, n)
            a, b, c, d, e = total, a, rotated_left(b, 30), c, d
        cpu.v[Rd] = words_of(a, b, c, d)


_rounds("sha1c", "000", choice)
_rounds("sha1p", "001", parity)
_rounds("sha1m", "010", majority)


@a64.insn("01011110 00 10100 00000 10 Rn:5 Rd:5", "sha1h {Rd:s_}, {Rn:s_}")
def sha1h(cpu: Cpu, Rn: Value, Rd: Value) -> None:
    need_fp(cpu)
    write(cpu, Rd, rotated_left(cpu.v[Rn].trunc(32), 30))


@a64.insn("01011110 00 0 Rm:5 0 011 00 Rn:5 Rd:5", "sha1su0 {Rd:v}.4s, {Rn:v}.4s, {Rm:v}.4s")
def sha1su0(cpu: Cpu, Rm: Value, Rn: Value, Rd: Value) -> None:
    need_fp(cpu)
    first = cpu.v[Rd]
    cpu.v[Rd] = shuffle(64, (1, 2), first, cpu.v[Rn]) ^ first ^ cpu.v[Rm]


@a64.insn("01011110 00 10100 00001 10 Rn:5 Rd:5", "sha1su1 {Rd:v}.4s, {Rn:v}.4s")
def sha1su1(cpu: Cpu, Rn: Value, Rd: Value) -> None:
    need_fp(cpu)
    zero = const(0, 128)
    words = cpu.v[Rd] ^ shuffle(32, (1, 2, 3, 4), cpu.v[Rn], zero)
    turned = lanes("rotl", 32, words, 1)
    # The last word follows from the first of these.
    first = shuffle(32, (4, 4, 4, 0), lanes("rotl", 32, words, 2), zero)
    cpu.v[Rd] = turned ^ first
