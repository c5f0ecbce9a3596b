"""The x87's transcendental functions, correctly rounded, which processors' results nearly always
are (Intel SDM 1, 8.3.10: an error below one unit in the last place).

Numbers are integers with `BITS` fraction bits. Arguments of trigonometric functions are reduced by
a pi of 66 bits, as the processor does it (8.3.8).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from .soft_extended_work import BIAS, C2, DE, IE, INDEFINITE, INFINITY, SIGN, ZE, Number, Work

__all__ = ["TRANSCENDENTAL"]

BITS = 400
ONE = 1 << BITS
PI_66 = 0x3243F6A8885A308D3
"""Pi times 2 ** 64, as it is inside of the processor."""
NEVER_EXACT = 1
"""What is added below the last bit: no result but those of special cases is exact."""


def _fixed(n: Number) -> int:
    """A finite number."""
    shift = n.exponent + BITS
    size = n.mantissa << shift if shift >= 0 else n.mantissa >> -shift
    return -size if n.sign else size


def _packed(work: Work, value: int, scale: int = 0) -> int:
    """A number with so many more fraction bits, rounded to 64 bits."""
    size = abs(value) << 1 | NEVER_EXACT
    return work.pack(int(value < 0), size, -BITS - 1 - scale, 64)


def _series(square: int, first: int, n: int) -> int:
    """The alternating sum of powers over factorials, from a positive term on."""
    total, term, sign = 0, first, 1
    while term:
        total += sign * term
        term = (term * square >> BITS) // ((n + 1) * (n + 2))
        n, sign = n + 2, -sign
    return total


def _sine_cosine(angle: int) -> tuple[int, int]:
    size = abs(angle)
    square = size * size >> BITS
    sine = _series(square, size, 1)
    return -sine if angle < 0 else sine, _series(square, ONE, 0)


@cache
def _pi() -> int:
    """Pi by Machin's formula."""
    return 4 * (4 * _inverse_tangent_of(5) - _inverse_tangent_of(239))


def _inverse_tangent_of(n: int) -> int:
    """The angle whose tangent is 1 / n."""
    term = ONE // n
    total, k = 0, 1
    while term:
        total += term // k if k % 4 == 1 else -(term // k)
        term //= n * n
        k += 2
    return total


def _arctangent(x: int) -> int:
    """Of a number from 0 to 1, halved until the series is short."""
    halvings = 8
    for _ in range(halvings):
        root = _root(ONE + (x * x >> BITS))
        x = (x << BITS) // (ONE + root)
    total, power, k, square = 0, x, 1, x * x >> BITS
    while power:
        total += power // k if k % 4 == 1 else -(power // k)
        power = power * square >> BITS
        k += 2
    return total << halvings


def _root(x: int) -> int:
    low = 1 << (x.bit_length() + BITS) // 2
    while True:
        better = (low + (x << BITS) // low) >> 1
        if abs(better - low) <= 1:
            return better
        low = better


def _logarithm(x: int) -> int:
    """The natural logarithm of a number from 1/2 to 2, by the inverse hyperbolic tangent."""
    if x < ONE:
        return -_logarithm((ONE << BITS) // x)
    z = ((x - ONE) << BITS) // (x + ONE)
    total, power, k, square = 0, z, 1, z * z >> BITS
    while power:
        total += power // k
        power = power * square >> BITS
        k += 2
    return 2 * total


@cache
def _log_2() -> int:
    return _logarithm(2 * ONE)


def _reduced(n: Number) -> tuple[int, int]:
    """A quarter turn's number and the angle beyond it, from -pi/4 to pi/4."""
    quarter = PI_66 << (BITS - 65)
    turns, rest = divmod(_fixed(n) + quarter // 2, quarter)
    return turns % 4, rest - quarter // 2


def _trigonometric(which: str) -> Callable[[Work, Number], int]:
    def function(work: Work, a: Number) -> int:
        found = work.nan_of(a)
        if found is not None:
            return found
        if a.kind == "infinite":
            return work.invalid()
        if a.exponent + a.mantissa.bit_length() > 63:
            work.status |= C2
            return a.bits
        if a.zero:
            return a.bits if which != "cos" else BIAS << 64 | 1 << 63
        if which != "cos" and a.exponent + a.mantissa.bit_length() < -100:
            # The result is the operand, less very little.
            return work.pack(a.sign, (a.mantissa << 80) - 1, a.exponent - 80, 64)
        turns, angle = _reduced(a)
        sine, cosine = _sine_cosine(angle)
        for _ in range(turns):
            sine, cosine = cosine, -sine
        if which == "tan":
            return _packed(work, (sine << BITS) // cosine)
        return _packed(work, sine if which == "sin" else cosine)

    return function


def _power_less_one(work: Work, a: Number) -> int:
    """F2XM1: 2 to the power of a number from -1 to 1, less 1."""
    found = work.nan_of(a)
    if found is not None:
        return found
    if a.kind == "infinite":
        return SIGN | BIAS << 64 | 1 << 63 if a.sign else a.bits
    if a.zero or a.exponent + a.mantissa.bit_length() > 1:
        return a.bits
    x = _fixed(a)
    if abs(x) == ONE:
        return work.pack(a.sign, 1, -1 if a.sign else 0, 64)
    if a.exponent + a.mantissa.bit_length() < -100:
        return work.pack(a.sign, a.mantissa * (_log_2() >> BITS - 200) | 1, a.exponent - 200, 64)
    y = abs(x) * _log_2() >> BITS
    total, term, n = 0, y, 1
    while term:
        total += term
        n += 1
        term = (term * y >> BITS) // n
    # Of a negative power: 1 / (1 + total) - 1.
    return _packed(work, -(total << BITS) // (ONE + total) if x < 0 else total)


def _angle(work: Work, y: Number, x: Number) -> int:
    """FPATAN: the angle of a point."""
    found = work.nan_of(y, x)
    if found is not None:
        return found
    signed = SIGN if y.sign else 0
    if y.zero and not x.sign:
        return signed
    infinite = (y.kind == "infinite", x.kind == "infinite")
    if any(infinite) or y.zero or x.zero:
        angle = _special_angle(y, x, infinite)
        return _packed(work, -angle if y.sign else angle) if angle else signed
    lengths = [n.exponent + n.mantissa.bit_length() for n in (y, x)]
    apart = lengths[0] - lengths[1]
    if apart < -150 and not x.sign:
        quotient = (y.mantissa << 200) // x.mantissa
        return work.pack(y.sign, quotient << 1 | 1, y.exponent - x.exponent - 201, 64)
    low = min(y.exponent, x.exponent)
    up, across = y.mantissa << y.exponent - low, x.mantissa << x.exponent - low
    inner = up > across
    ratio = (min(up, across) << BITS) // max(up, across)
    angle = _arctangent(ratio)
    angle = _pi() // 2 - angle if inner else angle
    angle = _pi() - angle if x.sign else angle
    return _packed(work, -angle if y.sign else angle)


def _special_angle(y: Number, x: Number, infinite: tuple[bool, bool]) -> int:
    if all(infinite):
        return 3 * _pi() // 4 if x.sign else _pi() // 4
    if infinite[0] or (x.zero and not y.zero):
        return _pi() // 2
    return _pi() if x.sign else 0


def _times_logarithm(work: Work, y: Number, x: Number) -> int:
    """FYL2X: y times the logarithm of x to base 2."""
    found = work.nan_of(y, x)
    if found is not None:
        return found
    if x.zero:
        if y.zero:
            work.status &= ~DE
            return work.invalid()
        if y.kind == "infinite":
            return y.bits ^ SIGN
        work.status = work.status & ~DE | ZE
        return INFINITY | (0 if y.sign else SIGN)
    if x.sign:
        work.status &= ~DE
        return work.invalid()
    length = x.mantissa.bit_length()
    whole = x.exponent + length - 1
    fraction = (x.mantissa << BITS) >> length - 1
    is_one = whole == 0 and fraction == ONE
    if x.kind == "infinite" or y.kind == "infinite":
        if y.zero or (is_one and x.kind != "infinite"):
            return work.invalid()
        above = x.kind == "infinite" or whole >= 0
        return INFINITY | (SIGN if y.sign != (not above) else 0)
    below = whole < 0
    if y.zero or is_one:
        return SIGN if y.sign ^ ((below and not y.zero) or (below and y.zero)) else 0
    if fraction == ONE:
        sign = y.sign ^ (whole < 0)
        return work.pack(sign, y.mantissa * abs(whole), y.exponent, 64)
    logarithm = (_logarithm(fraction) << BITS) // _log_2() + whole * ONE
    sign = y.sign ^ (logarithm < 0)
    return work.pack(sign, y.mantissa * abs(logarithm) << 1 | 1, y.exponent - BITS - 1, 64)


def _times_logarithm_plus_one(work: Work, y: Number, x: Number) -> int:
    """FYL2XP1: y times the logarithm of 1 + x to base 2, for x near 0."""
    found = work.nan_of(y, x)
    if found is not None:
        return found
    if x.kind == "infinite" or y.kind == "infinite":
        if x.zero or (x.kind == "infinite" and (x.sign or y.zero)):
            return work.invalid()
        return INFINITY | (SIGN if x.sign != y.sign else 0)
    if x.zero or y.zero:
        return SIGN if x.sign != y.sign else 0
    sign = x.sign ^ y.sign
    if x.exponent + x.mantissa.bit_length() < -100:
        inverse = (1 << 2 * BITS) // _log_2()
        return work.pack(
            sign, y.mantissa * x.mantissa * inverse | 1, y.exponent + x.exponent - BITS, 64
        )
    value = ONE + _fixed(x)
    if value <= 0:
        work.status |= IE
        return INDEFINITE
    logarithm = (_logarithm(value) << BITS) // _log_2()
    return work.pack(sign, y.mantissa * abs(logarithm) << 1 | 1, y.exponent - BITS - 1, 64)


TRANSCENDENTAL: dict[str, Callable[..., int]] = {
    "sin": _trigonometric("sin"), "cos": _trigonometric("cos"), "tan": _trigonometric("tan"),
    "2xm1": _power_less_one, "patan": _angle, "yl2x": _times_logarithm,
    "yl2xp1": _times_logarithm_plus_one,
}  # fmt: skip
"""By their names in `extended`."""
