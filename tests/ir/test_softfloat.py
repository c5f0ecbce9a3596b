"""Floating point in integers against Python's own (the host's), and against exact fractions."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction

import pytest

from bimetal.ir.fp import DZ, NV, NX, OF, UF, Rounding
from bimetal.ir.softfloat import (
    DOUBLE,
    DOWN,
    NEAREST_AWAY,
    NEAREST_EVEN,
    SINGLE,
    TOWARD_ZERO,
    UP,
    Environment,
    Format,
    add,
    convert,
    divide,
    from_integer,
    multiply,
    multiply_add,
    nearby_integral,
    round_to_integral,
    square_root,
    subtract,
    to_integer,
)  # fmt: skip
from bimetal.ir.softfloat_order import equal, equal_or_unordered, less, unordered

INFINITY, NAN, ONE, HUGE, TINY = (
    DOUBLE.infinity, DOUBLE.nan, 0x3FF0_0000_0000_0000, DOUBLE.infinity - 1, 1,
)  # fmt: skip
MINUS = DOUBLE.sign
SIGNALLING = INFINITY + 1
MODES = (NEAREST_EVEN, TOWARD_ZERO, DOWN, UP, NEAREST_AWAY)


def to_float(bits: int) -> float:
    return float(struct.unpack("<d", struct.pack("<Q", bits))[0])


def to_bits(number: float) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", number))[0])


def operands(count: int, seed: int) -> Iterator[tuple[int, int]]:
    """Pairs of finite doubles, near each other more often than chance would have it."""
    rng = random.Random(seed)
    for _ in range(count):
        a, b = rng.getrandbits(64), rng.getrandbits(64)
        if rng.random() < 0.7:
            b = a ^ rng.getrandbits(rng.randrange(1, 60)) ^ rng.getrandbits(1) << 63
        if all(bits & ~MINUS < INFINITY for bits in (a, b)):
            yield a, b


@pytest.mark.parametrize(
    ("operation", "python"),
    [
        (add, lambda a, b: a + b),
        (subtract, lambda a, b: a - b),
        (multiply, lambda a, b: a * b),
        (divide, lambda a, b: a / b if b else math.nan),
        (square_root, lambda a, b: math.sqrt(a) if a >= 0 else math.nan),
    ],
)
def test_nearest_even_is_pythons(
    operation: Callable[..., int], python: Callable[[float, float], float]
) -> None:
    for a, b in operands(2000, seed=1):
        expected = python(to_float(a), to_float(b))
        if math.isnan(expected):
            continue
        args = (a,) if operation is square_root else (a, b)
        assert operation(Environment(), DOUBLE, *args) == to_bits(expected), (hex(a), hex(b))


def exact(bits: int, form: Format) -> Fraction:
    if form is SINGLE:
        return Fraction(struct.unpack("<f", struct.pack("<I", bits))[0])
    return Fraction(to_float(bits))


@pytest.mark.parametrize("mode", MODES)
def test_rounding_takes_the_right_neighbour(mode: Rounding) -> None:
    """The result of narrowing is the neighbour of the exact value that the mode asks for."""
    for a, _ in operands(1500, seed=2 + mode):
        a = a & ~(0x7FF << 52) | (a >> 52 & 0x7FF) % 250 + 890 << 52
        env = Environment(mode)
        got = convert(env, DOUBLE, SINGLE, a)
        value = exact(a, DOUBLE)
        below, above = neighbours(value)
        if below == above:
            assert exact(got, SINGLE) == value
            assert env.flags == 0
            continue
        middle = (below + above) / 2
        wanted = {
            TOWARD_ZERO: below if value > 0 else above,
            DOWN: below,
            UP: above,
        }.get(mode)
        if wanted is not None:
            assert exact(got, SINGLE) == wanted
        elif value != middle:
            assert exact(got, SINGLE) == (below if value < middle else above)
        elif mode == NEAREST_AWAY:
            assert abs(exact(got, SINGLE)) == max(abs(below), abs(above))
        else:
            assert got & 1 == 0
        assert env.flags & NX


def neighbours(value: Fraction) -> tuple[Fraction, Fraction]:
    """The singles on both sides of a value within their range."""
    magnitude = abs(value)
    exponent = max(math.frexp(float(magnitude))[1] - 1, -126) - 23
    unit = Fraction(2) ** exponent
    below = value // unit * unit
    return below, below if below == value else below + unit


@pytest.mark.parametrize(
    ("operation", "args", "result", "flags"),
    [
        (add, (INFINITY, INFINITY | MINUS), NAN, NV),
        (add, (INFINITY, ONE), INFINITY, 0),
        (add, (NAN, ONE), NAN, 0),
        (add, (ONE, SIGNALLING), NAN, NV),
        (add, (HUGE, HUGE), INFINITY, OF | NX),
        (add, (ONE, TINY), ONE, NX),
        (subtract, (ONE, ONE), 0, 0),
        (multiply, (INFINITY, MINUS), NAN, NV),
        (multiply, (TINY, TINY), 0, UF | NX),
        (multiply, (0x0010_0000_0000_0001, 0x3FE0_0000_0000_0000), 0x0008_0000_0000_0000, UF | NX),
        (multiply, (0x0010_0000_0000_0002, 0x3FE0_0000_0000_0000), 0x0008_0000_0000_0001, 0),
        (divide, (ONE, MINUS), INFINITY | MINUS, DZ),
        (divide, (0, 0), NAN, NV),
        (divide, (INFINITY, INFINITY), NAN, NV),
        (divide, (ONE, INFINITY | MINUS), MINUS, 0),
        (square_root, (MINUS,), MINUS, 0),
        (square_root, (ONE | MINUS,), NAN, NV),
        (square_root, (INFINITY,), INFINITY, 0),
        (multiply_add, (INFINITY, 0, ONE), NAN, NV),
        (multiply_add, (INFINITY, 0, NAN), NAN, 0),
        (multiply_add, (HUGE, HUGE, INFINITY | MINUS), INFINITY | MINUS, 0),
        (multiply_add, (INFINITY, ONE, INFINITY | MINUS), NAN, NV),
        (round_to_integral, (0x3FE0_0000_0000_0000,), 0, NX),
        (round_to_integral, (0xBFE0_0000_0000_0000,), MINUS, NX),
        (round_to_integral, (INFINITY,), INFINITY, 0),
        (equal, (NAN, NAN), 0, 0),
        (equal, (SIGNALLING, ONE), 0, NV),
        (equal, (0, MINUS), 1, 0),
        (equal_or_unordered, (0, MINUS), 1, 0),
        (equal_or_unordered, (ONE, 0), 0, 0),
        (equal_or_unordered, (ONE, NAN), 1, 0),
        (equal_or_unordered, (SIGNALLING, ONE), 1, NV),
        (less, (NAN, ONE), 0, NV),
        (less, (MINUS, 0), 0, 0),
        (less, (INFINITY | MINUS, HUGE), 1, 0),
    ],
)
def test_special_operands(
    operation: Callable[..., int], args: tuple[int, ...], result: int, flags: int
) -> None:
    env = Environment()
    assert operation(env, DOUBLE, *args) == result
    assert env.flags == flags


@pytest.mark.parametrize(
    ("mode", "sign", "result"),
    [
        (TOWARD_ZERO, 0, HUGE),
        (DOWN, 0, HUGE),
        (UP, 0, INFINITY),
        (DOWN, MINUS, INFINITY | MINUS),
        (UP, MINUS, HUGE | MINUS),
        (NEAREST_AWAY, MINUS, INFINITY | MINUS),
    ],
)
def test_overflow_goes_where_the_mode_says(mode: int, sign: int, result: int) -> None:
    assert multiply(Environment(mode), DOUBLE, HUGE, HUGE | sign) == result


@pytest.mark.parametrize(("mode", "zero"), [(NEAREST_EVEN, 0), (UP, 0), (DOWN, MINUS)])
def test_sign_of_an_exact_zero(mode: int, zero: int) -> None:
    assert subtract(Environment(mode), DOUBLE, ONE, ONE) == zero


def test_tininess_is_detected_after_rounding() -> None:
    """What an unbounded exponent would round up to the smallest normal number is not tiny."""
    almost_one = 0x3FEF_FFFF_FFFF_FFFF
    smallest_normal = 0x0010_0000_0000_0000
    for mode, flags in ((UP, NX | UF), (NEAREST_EVEN, NX | UF)):
        env = Environment(mode)
        assert multiply(env, DOUBLE, smallest_normal, almost_one) == smallest_normal
        assert env.flags == flags
    env = Environment(UP)
    product = multiply_add(env, DOUBLE, smallest_normal, ONE, TINY | MINUS)
    assert product == smallest_normal - 1
    env = Environment(UP)
    narrowed = convert(env, DOUBLE, SINGLE, 0x380F_FFFF_FFFF_FFFF)
    assert (narrowed, env.flags) == (0x0080_0000, NX)


@pytest.mark.parametrize(
    ("mode", "results"),
    [
        (NEAREST_EVEN, (2.0, -2.0, 0.0, 4.0)),
        (TOWARD_ZERO, (1.0, -1.0, 0.0, 3.0)),
        (DOWN, (1.0, -2.0, 0.0, 3.0)),
        (UP, (2.0, -1.0, 1.0, 4.0)),
    ],
)
def test_a_mode_of_its_own_is_never_inexact(mode: int, results: tuple[float, ...]) -> None:
    env = Environment(UP if mode == DOWN else DOWN)
    for number, result in zip((1.5, -1.5, 0.25, 3.5), results, strict=True):
        assert to_float(nearby_integral(env, DOUBLE, to_bits(number), mode)) == result
    assert env.flags == 0
    assert nearby_integral(env, DOUBLE, SIGNALLING, mode) == NAN
    assert env.flags == NV


def test_unordered_is_quiet() -> None:
    env = Environment()
    assert (unordered(env, DOUBLE, ONE, NAN), unordered(env, DOUBLE, ONE, ONE)) == (1, 0)
    assert env.flags == 0
    assert unordered(env, DOUBLE, SIGNALLING, ONE) == 1
    assert env.flags == NV


def test_integers() -> None:
    env = Environment()
    assert from_integer(env, SINGLE, (1 << 24) + 1) == 0x4B80_0000
    assert env.flags == NX
    assert to_integer(env, SINGLE, 0xC020_0000, -128, 127) == -2
    for bits in (DOUBLE.nan, DOUBLE.infinity, 0x43E0_0000_0000_0000):
        with pytest.raises(ValueError, match="is no integer from"):
            to_integer(env, DOUBLE, bits, -(1 << 63), (1 << 63) - 1)
