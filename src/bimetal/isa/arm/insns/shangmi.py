"""SM3 and SM4 (FEAT_SM3, FEAT_SM4): a hash function and a cipher (GB/T 32905 and 32907)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from ....ir.value import Value, const
from ....ir.vector import element, insert, lanes, shuffle
from ...substitution import affine, inverses, substituted
from ...trace import Cpu
from ..fp_access import need_fp
from ..hashing import choice, majority, parity, rotated_left, words_of
from ..state import a64

# -- SM3


@a64.insn(
    "11001110 010 Rm:5 0 Ra:5 Rn:5 Rd:5", "sm3ss1 {Rd:v}.4s, {Rn:v}.4s, {Rm:v}.4s, {Ra:v}.4s",
    extension="sm3",
)  # fmt: skip
def sm3ss1(cpu: Cpu, Rm: Value, Ra: Value, Rn: Value, Rd: Value) -> None:
    need_fp(cpu)
    a, e, constant = (element(cpu.v[number], 32, 3) for number in (Rn, Rm, Ra))
    cpu.v[Rd] = rotated_left(rotated_left(a, 12) + e + constant, 7).zext(128) << 96


def _sm3_half(
    name: str, opcode: str, turn: int, act: Callable[[tuple[Value, ...], Value], Value]
) -> None:
    """One half of a round: four words move up, the second of them turned, and a new one comes."""

    @a64.insn(
        f"11001110 010 Rm:5 10 imm2:2 {opcode} Rn:5 Rd:5",
        f"{name} {{Rd:v}}.4s, {{Rn:v}}.4s, {{Rm:v}}.s[{{imm2:u}}]",
        extension="sm3",
    )
    def meaning(cpu: Cpu, Rm: Value, imm2: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        words = tuple(element(cpu.v[Rd], 32, n) for n in range(4))
        more = element(cpu.v[Rn], 32, 3)
        if opcode[0] == "0":
            more = more ^ rotated_left(words[3], 12)
        new = act(words, words[0] + more + element(cpu.v[Rm], 32, imm2))
        cpu.v[Rd] = words_of(words[1], rotated_left(words[2], turn), words[3], new)


def _permuted(x: Value) -> Value:
    """P0."""
    return x ^ rotated_left(x, 9) ^ rotated_left(x, 17)


_sm3_half("sm3tt1a", "00", 9, lambda w, total: parity(w[1], w[2], w[3]) + total)
_sm3_half("sm3tt1b", "01", 9, lambda w, total: majority(w[1], w[2], w[3]) + total)
_sm3_half("sm3tt2a", "10", 19, lambda w, total: _permuted(parity(w[1], w[2], w[3]) + total))
_sm3_half("sm3tt2b", "11", 19, lambda w, total: _permuted(choice(w[3], w[2], w[1]) + total))


def _expanded(words: Value) -> Value:
    """P1, of each word."""
    return words ^ lanes("rotl", 32, words, 15) ^ lanes("rotl", 32, words, 23)


@a64.insn(
    "11001110 011 Rm:5 1 1 00 00 Rn:5 Rd:5", "sm3partw1 {Rd:v}.4s, {Rn:v}.4s, {Rm:v}.4s",
    extension="sm3",
)  # fmt: skip
def sm3partw1(cpu: Cpu, Rm: Value, Rn: Value, Rd: Value) -> None:
    need_fp(cpu)
    words, zero = cpu.v[Rd] ^ cpu.v[Rn], const(0, 128)
    later = shuffle(32, (1, 2, 3, 4), lanes("rotl", 32, cpu.v[Rm], 15), zero)
    mixed = _expanded(words ^ later)
    # The last word needs the first of the result.
    last = element(words, 32, 3) ^ rotated_left(element(mixed, 32, 0), 15)
    last = last ^ rotated_left(last, 15) ^ rotated_left(last, 23)
    cpu.v[Rd] = insert(mixed, 32, 3, last)


@a64.insn(
    "11001110 011 Rm:5 1 1 00 01 Rn:5 Rd:5", "sm3partw2 {Rd:v}.4s, {Rn:v}.4s, {Rm:v}.4s",
    extension="sm3",
)  # fmt: skip
def sm3partw2(cpu: Cpu, Rm: Value, Rn: Value, Rd: Value) -> None:
    need_fp(cpu)
    words = cpu.v[Rn] ^ lanes("rotl", 32, cpu.v[Rm], 7)
    last = rotated_left(element(words, 32, 0), 15)
    last = last ^ rotated_left(last, 15) ^ rotated_left(last, 23)
    cpu.v[Rd] = cpu.v[Rd] ^ words ^ last.zext(128) << 96


# -- SM4


@cache
def _substitutes() -> list[int]:
    """The inverse in a field, between two affine maps."""
    found = inverses(0x1F5)
    return [affine(found[affine(number, 0xCB, 0xD3)], 0xCB, 0xD3) for number in range(256)]


def _four_rounds(state: Value, keys: Value, turns: tuple[int, ...]) -> Value:
    words = [element(state, 32, n) for n in range(4)]
    for n in range(4):
        mixed = parity(words[1], words[2], words[3]) ^ element(keys, 32, n)
        mixed = substituted(mixed.zext(64), _substitutes()).trunc(32)
        new = words[0] ^ mixed
        for turn in turns:
            new = new ^ rotated_left(mixed, turn)
        words = [*words[1:], new]
    return words_of(*words)


@a64.insn("11001110 110 00000 1000 01 Rn:5 Rd:5", "sm4e {Rd:v}.4s, {Rn:v}.4s", extension="sm4")
def sm4e(cpu: Cpu, Rn: Value, Rd: Value) -> None:
    need_fp(cpu)
    cpu.v[Rd] = _four_rounds(cpu.v[Rd], cpu.v[Rn], (2, 10, 18, 24))


@a64.insn(
    "11001110 011 Rm:5 1 1 00 10 Rn:5 Rd:5", "sm4ekey {Rd:v}.4s, {Rn:v}.4s, {Rm:v}.4s",
    extension="sm4",
)  # fmt: skip
def sm4ekey(cpu: Cpu, Rm: Value, Rn: Value, Rd: Value) -> None:
    need_fp(cpu)
    cpu.v[Rd] = _four_rounds(cpu.v[Rn], cpu.v[Rm], (13, 23))
