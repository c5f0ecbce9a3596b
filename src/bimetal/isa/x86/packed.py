"""Packed integers: what the instructions of MMX, SSE and AVX do to parts of their operands."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from ...ir.value import Value, const, select
from ...ir.vector import choose, join, lanes, reduce, shuffle, splat, table

__all__ = ["OPERATIONS", "SHIFTS", "UNARY", "Packed", "iota", "least_word", "shifted"]

Operation = Callable[[Value, Value], Value]
"""Of two parts: the first source, and the one that ModRM names."""


class Packed(Struct, frozen=True):
    """An instruction of two packed operands: its name, opcode, and the extension that has it with
    MMX and with XMM registers ("" for none)."""

    name: str
    opcode: str
    operation: Operation
    mmx: str
    sse: str


def plainly(operation: str, lane: int, swapped: bool = False) -> Operation:
    """An operation of the table on lanes."""
    if swapped:
        return lambda a, b: lanes(operation, lane, b, a)
    return lambda a, b: lanes(operation, lane, a, b)


def _high(signed: bool) -> Operation:
    """The upper half of products of words."""
    extend = "sext" if signed else "zext"

    def meaning(a: Value, b: Value) -> Value:
        wide = [lanes(extend, 16, value, to=32) for value in (a, b)]
        product = lanes("mul", 32, *wide)
        return lanes("trunc", 32, lanes("lsr", 32, product, 16), to=16)

    return meaning


def _even_products(signed: bool) -> Operation:
    """Products of the even doublewords, whole."""

    def wide(value: Value) -> Value:
        if signed:
            return lanes("asr", 64, lanes("shl", 64, value, 32), 32)
        return lanes("and", 64, value, 0xFFFF_FFFF)

    return lambda a, b: lanes("mul", 64, wide(a), wide(b))


def _sums_of_products(a: Value, b: Value) -> Value:
    """PMADDWD."""
    wide = [lanes("sext", 16, value, to=32) for value in (a, b)]
    product = lanes("mul", 32, *wide)
    count = product.width // 32
    even, odd = (shuffle(32, range(first, count, 2), product) for first in (0, 1))
    return lanes("add", 32, even, odd)


def _average(lane: int) -> Operation:
    def meaning(a: Value, b: Value) -> Value:
        wide = [lanes("zext", lane, value, to=2 * lane) for value in (a, b)]
        total = lanes("add", 2 * lane, lanes("add", 2 * lane, *wide), 1)
        return lanes("trunc", 2 * lane, lanes("lsr", 2 * lane, total, 1), to=lane)

    return meaning


def _distances(a: Value, b: Value) -> Value:
    """PSADBW: sums of absolute differences, in 64 bits each."""
    apart = lanes("sub", 8, lanes("umax", 8, a, b), lanes("umin", 8, a, b))
    result = const(0, a.width)
    for n in range(a.width // 64):
        eight = lanes("zext", 8, apart[64 * n + 63 : 64 * n], to=16)
        result = result | reduce("add", 16, eight).zext(a.width) << 64 * n
    return result


def _packed(lane: int, low: int, high: int) -> Operation:
    """Both operands' lanes, limited to what half of the bits can hold."""

    def meaning(a: Value, b: Value) -> Value:
        halves = []
        for value in (a, b):
            limited = lanes("smin", lane, lanes("smax", lane, value, low), high)
            halves.append(lanes("trunc", lane, limited, to=lane // 2))
        return halves[0].zext(a.width) | halves[1].zext(a.width) << a.width // 2

    return meaning


def _unpacked(lane: int, high: bool) -> Operation:
    """Lanes of the low or high half of both operands, in turn."""

    def meaning(a: Value, b: Value) -> Value:
        count = a.width // lane
        first = count // 2 if high else 0
        order = [n + count * which for n in range(first, first + count // 2) for which in (0, 1)]
        return shuffle(lane, order, a, b)

    return meaning


def shifted(operation: str, lane: int) -> Operation:
    """All lanes shifted by one amount, the low 64 bits of the second operand."""

    def meaning(a: Value, b: Value) -> Value:
        amount = b.trunc(64)
        beyond = amount.uge(lane)
        most = lane - 1 if operation == "asr" else 0
        held = select(beyond, const(most, 64), amount).trunc(lane)
        result = lanes(operation, lane, a, splat(held, a.width // lane))
        if operation == "asr":
            return result
        return select(beyond, const(0, a.width), result)

    return meaning


# -- SSSE3


def _shuffled(a: Value, b: Value) -> Value:
    """PSHUFB: bytes of the first operand by the low bits of those of the second, 0 where that is
    negative. Of 64 bits the index has three bits."""
    wide = a.zext(128) | (a.zext(128) << 64 if a.width == 64 else 0)
    mask = 0x80 | (a.width // 8 - 1)
    return table(lanes("and", 8, b, mask), wide)


def _pairs(operation: str, lane: int) -> Operation:
    """Neighbours combined, those of the first operand and then those of the second."""

    def meaning(a: Value, b: Value) -> Value:
        count = 2 * a.width // lane
        even, odd = (shuffle(lane, range(first, count, 2), a, b) for first in (0, 1))
        return lanes(operation, lane, even, odd)

    return meaning


def _mixed_products(a: Value, b: Value) -> Value:
    """PMADDUBSW: unsigned bytes times signed ones, and neighbours added with saturation."""
    wide = (lanes("zext", 8, a, to=16), lanes("sext", 8, b, to=16))
    product = lanes("mul", 16, *wide)
    count = product.width // 16
    even, odd = (shuffle(16, range(first, count, 2), product) for first in (0, 1))
    return lanes("sadd_sat", 16, even, odd)


def _signed_by(lane: int) -> Operation:
    """PSIGN: negated, zero or as it is, as the second operand is negative, zero or positive."""

    def meaning(a: Value, b: Value) -> Value:
        negative, zero = lanes("slt", lane, b, 0), lanes("eq", lane, b, 0)
        minus = lanes("sub", lane, const(0, a.width), a)
        return choose(negative, minus, a) & ~zero

    return meaning


def _rounded_high(a: Value, b: Value) -> Value:
    """PMULHRSW."""
    wide = [lanes("sext", 16, value, to=32) for value in (a, b)]
    product = lanes("lsr", 32, lanes("mul", 32, *wide), 14)
    rounded = lanes("lsr", 32, lanes("add", 32, product, 1), 1)
    return lanes("trunc", 32, rounded, to=16)


def _magnitudes(lane: int) -> Operation:
    return lambda a, b: lanes("abs", lane, b)


def _packed_unsigned(a: Value, b: Value) -> Value:
    """PACKUSDW."""
    return _packed(32, 0, 0xFFFF)(a, b)


def least_word(b: Value) -> Value:
    """PHMINPOSUW: the least word and where it is first."""
    least = reduce("umin", 16, b)
    same = lanes("eq", 16, b, splat(least, 8))
    numbers = const(join(range(8), 16), 128)
    place = reduce("umin", 16, numbers | ~same)
    return least.zext(128) | place.zext(128) << 16


def _rows(mmx: str, sse: str, *rows: tuple[str, str, Operation]) -> tuple[Packed, ...]:
    return tuple(Packed(*row, mmx, sse) for row in rows)


OPERATIONS = (
    *_rows(
        "mmx", "sse2",
        ("punpcklbw", "0f 60", _unpacked(8, False)),
        ("punpcklwd", "0f 61", _unpacked(16, False)),
        ("punpckldq", "0f 62", _unpacked(32, False)),
        ("packsswb", "0f 63", _packed(16, -0x80, 0x7F)),
        ("pcmpgtb", "0f 64", plainly("slt", 8, swapped=True)),
        ("pcmpgtw", "0f 65", plainly("slt", 16, swapped=True)),
        ("pcmpgtd", "0f 66", plainly("slt", 32, swapped=True)),
        ("packuswb", "0f 67", _packed(16, 0, 0xFF)),
        ("punpckhbw", "0f 68", _unpacked(8, True)),
        ("punpckhwd", "0f 69", _unpacked(16, True)),
        ("punpckhdq", "0f 6a", _unpacked(32, True)),
        ("packssdw", "0f 6b", _packed(32, -0x8000, 0x7FFF)),
        ("pcmpeqb", "0f 74", plainly("eq", 8)),
        ("pcmpeqw", "0f 75", plainly("eq", 16)),
        ("pcmpeqd", "0f 76", plainly("eq", 32)),
        ("pmullw", "0f d5", plainly("mul", 16)),
        ("psubusb", "0f d8", plainly("usub_sat", 8)),
        ("psubusw", "0f d9", plainly("usub_sat", 16)),
        ("pand", "0f db", lambda a, b: a & b),
        ("paddusb", "0f dc", plainly("uadd_sat", 8)),
        ("paddusw", "0f dd", plainly("uadd_sat", 16)),
        ("pandn", "0f df", lambda a, b: ~a & b),
        ("pmulhw", "0f e5", _high(signed=True)),
        ("psubsb", "0f e8", plainly("ssub_sat", 8)),
        ("psubsw", "0f e9", plainly("ssub_sat", 16)),
        ("por", "0f eb", lambda a, b: a | b),
        ("paddsb", "0f ec", plainly("sadd_sat", 8)),
        ("paddsw", "0f ed", plainly("sadd_sat", 16)),
        ("pxor", "0f ef", lambda a, b: a ^ b),
        ("pmaddwd", "0f f5", _sums_of_products),
        ("psubb", "0f f8", plainly("sub", 8)),
        ("psubw", "0f f9", plainly("sub", 16)),
        ("psubd", "0f fa", plainly("sub", 32)),
        ("paddb", "0f fc", plainly("add", 8)),
        ("paddw", "0f fd", plainly("add", 16)),
        ("paddd", "0f fe", plainly("add", 32)),
    ),
    *_rows(
        "sse", "sse2",
        ("pminub", "0f da", plainly("umin", 8)),
        ("pmaxub", "0f de", plainly("umax", 8)),
        ("pavgb", "0f e0", _average(8)),
        ("pavgw", "0f e3", _average(16)),
        ("pmulhuw", "0f e4", _high(signed=False)),
        ("pminsw", "0f ea", plainly("smin", 16)),
        ("pmaxsw", "0f ee", plainly("smax", 16)),
        ("psadbw", "0f f6", _distances),
    ),
    *_rows(
        "sse2", "sse2",
        ("paddq", "0f d4", plainly("add", 64)),
        ("pmuludq", "0f f4", _even_products(signed=False)),
        ("psubq", "0f fb", plainly("sub", 64)),
    ),
    *_rows(
        "", "sse2",
        ("punpcklqdq", "0f 6c", _unpacked(64, False)),
        ("punpckhqdq", "0f 6d", _unpacked(64, True)),
    ),
    *_rows(
        "ssse3", "ssse3",
        ("pshufb", "0f38 00", _shuffled),
        ("phaddw", "0f38 01", _pairs("add", 16)),
        ("phaddd", "0f38 02", _pairs("add", 32)),
        ("phaddsw", "0f38 03", _pairs("sadd_sat", 16)),
        ("pmaddubsw", "0f38 04", _mixed_products),
        ("phsubw", "0f38 05", _pairs("sub", 16)),
        ("phsubd", "0f38 06", _pairs("sub", 32)),
        ("phsubsw", "0f38 07", _pairs("ssub_sat", 16)),
        ("psignb", "0f38 08", _signed_by(8)),
        ("psignw", "0f38 09", _signed_by(16)),
        ("psignd", "0f38 0a", _signed_by(32)),
        ("pmulhrsw", "0f38 0b", _rounded_high),
    ),
    *_rows(
        "", "sse4_1",
        ("pmuldq", "0f38 28", _even_products(signed=True)),
        ("pcmpeqq", "0f38 29", plainly("eq", 64)),
        ("packusdw", "0f38 2b", _packed_unsigned),
        ("pminsb", "0f38 38", plainly("smin", 8)),
        ("pminsd", "0f38 39", plainly("smin", 32)),
        ("pminuw", "0f38 3a", plainly("umin", 16)),
        ("pminud", "0f38 3b", plainly("umin", 32)),
        ("pmaxsb", "0f38 3c", plainly("smax", 8)),
        ("pmaxsd", "0f38 3d", plainly("smax", 32)),
        ("pmaxuw", "0f38 3e", plainly("umax", 16)),
        ("pmaxud", "0f38 3f", plainly("umax", 32)),
        ("pmulld", "0f38 40", plainly("mul", 32)),
    ),
    *_rows("", "sse4_2", ("pcmpgtq", "0f38 37", plainly("slt", 64, swapped=True))),
)  # fmt: skip
"""Those of two operands, in the order of their opcodes."""

SHIFTS = _rows(
    "mmx", "sse2",
    ("psrlw", "0f d1", shifted("lsr", 16)),
    ("psrld", "0f d2", shifted("lsr", 32)),
    ("psrlq", "0f d3", shifted("lsr", 64)),
    ("psraw", "0f e1", shifted("asr", 16)),
    ("psrad", "0f e2", shifted("asr", 32)),
    ("psllw", "0f f1", shifted("shl", 16)),
    ("pslld", "0f f2", shifted("shl", 32)),
    ("psllq", "0f f3", shifted("shl", 64)),
)  # fmt: skip
"""Those whose second operand is one amount for all parts."""

UNARY = (
    *_rows(
        "ssse3", "ssse3",
        ("pabsb", "0f38 1c", _magnitudes(8)),
        ("pabsw", "0f38 1d", _magnitudes(16)),
        ("pabsd", "0f38 1e", _magnitudes(32)),
    ),
)  # fmt: skip
"""Those of one operand."""


def iota(imm: Value, left: bool = False, most: int = 16) -> Value:
    """The places of bytes that are moved down, or up, by an immediate: what is beyond the end, or
    below 0, is beyond all tables."""
    amount = imm.trunc(8)
    limited = select(amount.ult(most), amount, const(most, 8))
    places = const(join(range(16), 8), 128)
    return lanes("sub" if left else "add", 8, places, splat(limited, 16))
