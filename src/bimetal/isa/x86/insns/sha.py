"""SHA-1 and SHA-256 (FIPS 180-4): rounds, and the schedule of messages."""

from __future__ import annotations

from collections.abc import Callable

from ....ir.value import Value, const, pure
from ....ir.vector import lanes, shuffle
from ...trace import Cpu
from ..numbers import LEGACY
from ..simd import describe, read_source


def words(value: Value) -> list[Value]:
    """The words of 32 bits, the highest first."""
    return [value[32 * n + 31 : 32 * n] for n in (3, 2, 1, 0)]


def joined(high: Value, *others: Value) -> Value:
    """Words in a vector, the highest first."""
    total = high.zext(128)
    for word in others:
        total = total << 32 | word.zext(128)
    return total


def _rotated(value: Value, left: int) -> Value:
    return pure("rotl", value, left)


Operation = Callable[[Value, Value, Value, Value], Value]
"""Of the destination, the source, XMM0 and an immediate."""


def _describe(row: str, text: str, operation: Operation) -> None:
    @describe(row, text, "sha_ni")
    def instruction(cpu: Cpu, **fields: Value) -> None:
        LEGACY.ready(cpu)
        (b,) = read_source(cpu, fields, LEGACY)
        reg, imm = fields["reg"], fields["imm"]
        cpu.xmm[reg] = operation(cpu.xmm[reg], b, cpu.xmm[0], imm)


def _choose(b: Value, c: Value, d: Value) -> Value:
    return (b & c) ^ (~b & d)


def _parity(b: Value, c: Value, d: Value) -> Value:
    return b ^ c ^ d


def _majority(b: Value, c: Value, d: Value) -> Value:
    return (b & c) ^ (b & d) ^ (c & d)


CONSTANTS = 0x5A827999 | 0x6ED9EBA1 << 32 | 0x8F1BBCDC << 64 | 0xCA62C1D6 << 96


def _sha1_rounds(state: Value, message: Value, _: Value, imm: Value) -> Value:
    """SHA1RNDS4: four rounds with the function and the constant of the immediate."""
    kind = imm[1:0]
    constant = const(CONSTANTS, 128).lsr(kind.zext(128) << 5).trunc(32)
    first, second = (kind == 0).sext(32), (kind == 2).sext(32)
    a, b, c, d = words(state)
    e = const(0, 32)
    for word in words(message):
        mixed = _choose(b, c, d) & first | _majority(b, c, d) & second
        mixed = mixed | _parity(b, c, d) & ~(first | second)
        a, b, c, d, e = _rotated(a, 5) + mixed + e + word + constant, a, _rotated(b, 30), c, d
    return joined(a, b, c, d)


def _sha1_next(state: Value, message: Value, _: Value, __: Value) -> Value:
    turned = _rotated(state[127:96], 30) + message[127:96]
    return message & (1 << 96) - 1 | turned.zext(128) << 96


def _sha1_first(a: Value, b: Value, _: Value, __: Value) -> Value:
    return a ^ shuffle(32, (6, 7, 0, 1), a, b)


def _sha1_second(a: Value, b: Value, _: Value, __: Value) -> Value:
    w13, w14, w15 = words(b)[1:]
    x16, x17, x18, x19 = words(a)
    w16 = _rotated(x16 ^ w13, 1)
    return joined(w16, _rotated(x17 ^ w14, 1), _rotated(x18 ^ w15, 1), _rotated(x19 ^ w16, 1))


def _sigma(value: Value, *amounts: int) -> Value:
    total = const(0, 32)
    for amount in amounts:
        total = total ^ _rotated(value, 32 - amount)
    return total


def _sha256_rounds(state: Value, other: Value, keys: Value, _: Value) -> Value:
    """SHA256RNDS2: the destination has C, D, G and H, the source A, B, E and F."""
    (a, b, e, f), (c, d, g, h) = words(other), words(state)
    for key in (keys[31:0], keys[63:32]):
        first = h + _choose(e, f, g) + _sigma(e, 6, 11, 25) + key
        second = _majority(a, b, c) + _sigma(a, 2, 13, 22)
        a, b, c, d, e, f, g, h = first + second, a, b, c, first + d, e, f, g
    return joined(a, b, e, f)


def _sha256_first(a: Value, b: Value, _: Value, __: Value) -> Value:
    following = shuffle(32, (1, 2, 3, 4), a, b)
    total = const(0, 128)
    for n in range(4):
        word = following[32 * n + 31 : 32 * n]
        mixed = _sigma(word, 7, 18) ^ word.lsr(3)
        total = total | mixed.zext(128) << 32 * n
    return lanes("add", 32, a, total)


def _sha256_second(a: Value, b: Value, _: Value, __: Value) -> Value:
    w15, w14 = words(b)[:2]
    found: list[Value] = []
    for n, word in enumerate(reversed(words(a))):
        before = (w14, w15)[n] if n < 2 else found[n - 2]
        found.append(word + (_sigma(before, 17, 19) ^ before.lsr(10)))
    return joined(*reversed(found))


_describe("np 0f3a cc /r ib", "sha1rnds4 {:Vdq}, {:Wdq}, {:Ib}", _sha1_rounds)
_describe("np 0f38 c8 /r", "sha1nexte {:Vdq}, {:Wdq}", _sha1_next)
_describe("np 0f38 c9 /r", "sha1msg1 {:Vdq}, {:Wdq}", _sha1_first)
_describe("np 0f38 ca /r", "sha1msg2 {:Vdq}, {:Wdq}", _sha1_second)
_describe("np 0f38 cb /r", "sha256rnds2 {:Vdq}, {:Wdq}, xmm0", _sha256_rounds)
_describe("np 0f38 cc /r", "sha256msg1 {:Vdq}, {:Wdq}", _sha256_first)
_describe("np 0f38 cd /r", "sha256msg2 {:Vdq}, {:Wdq}", _sha256_second)
