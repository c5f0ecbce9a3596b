"""Floating point in exact integers: what the operations of `fp` mean, bit by bit.

A finite number is ``mantissa * 2**exponent``; an operation computes its result exactly (or exactly
enough, with a last bit that says "and a little more") and rounds once. Five rounding modes, the
flags of IEEE 754, tininess after rounding. Every NaN that comes out is the default one: positive,
quiet, no payload. Infinity times zero plus a quiet NaN is not invalid here; where an architecture
wants that, its descriptions say so.
"""

from __future__ import annotations

from math import isqrt

from msgspec import Struct

from .fp import DZ, FLUSH_RESULTS, NV, NX, OF, UF, Rounding

__all__ = [
    "DOUBLE",
    "DOWN",
    "FORMATS",
    "HALF",
    "NEAREST_AWAY",
    "NEAREST_EVEN",
    "SINGLE",
    "TOWARD_ZERO",
    "UP",
    "Environment",
    "Format",
    "add",
    "convert",
    "divide",
    "from_integer",
    "multiply",
    "multiply_add",
    "nan_operand",
    "nearby_integral",
    "round_to_integral",
    "square_root",
    "subtract",
    "to_integer",
    "to_integer_or_lowest",
]  # fmt: skip

NEAREST_EVEN, TOWARD_ZERO, DOWN, UP, NEAREST_AWAY = Rounding


class Environment(Struct):
    """The current rounding mode, the sticky flags, whether tiny numbers are flushed to zero, and
    whether subnormal operands are noted in a flag of their own."""

    rounding: int = NEAREST_EVEN
    flags: int = 0
    flushing: int = 0
    notes_subnormal: bool = False


class Format(Struct, frozen=True):
    """A binary interchange format: ``width`` bits, of which ``precision`` (with the implied one)
    are the significand's."""

    width: int
    precision: int

    @property
    def sign(self) -> int:
        """The sign bit."""
        return 1 << (self.width - 1)

    @property
    def infinity(self) -> int:
        """The bits of +infinity."""
        return self.sign - (1 << (self.precision - 1))

    @property
    def nan(self) -> int:
        """The default NaN."""
        return self.infinity | self.quiet

    @property
    def quiet(self) -> int:
        """The bit that makes a NaN a quiet one."""
        return 1 << (self.precision - 2)

    @property
    def smallest(self) -> int:
        """The bits of the smallest normal number."""
        return 1 << (self.precision - 1)

    def is_nan(self, bits: int) -> bool:
        """Whether a number is a NaN."""
        return bits & ~self.sign > self.infinity

    def number(self, power: int, sign: int = 0) -> int:
        """The bits of 2 to the ``power``, infinity where that is too large."""
        place = (power + self.maximum_exponent) << (self.precision - 1)
        return min(place, self.infinity) | (self.sign if sign else 0)

    @property
    def maximum_exponent(self) -> int:
        """The exponent of the largest numbers, which is also the bias."""
        return (1 << (self.width - self.precision - 1)) - 1

    @property
    def quantum(self) -> int:
        """The exponent of the last place of subnormal numbers."""
        return 2 - self.maximum_exponent - self.precision


HALF, SINGLE, DOUBLE = Format(16, 11), Format(32, 24), Format(64, 53)
FORMATS = {16: HALF, 32: SINGLE, 64: DOUBLE}


class _Number(Struct, frozen=True):
    """An unpacked operand; ``kind`` is "finite", "infinite" or "nan"."""

    kind: str
    sign: int
    mantissa: int = 0
    exponent: int = 0

    @property
    def zero(self) -> bool:
        return self.kind == "finite" and self.mantissa == 0

    @property
    def signed(self) -> int:
        return -self.mantissa if self.sign else self.mantissa


def _unpack(form: Format, bits: int) -> _Number:
    sign = bits >> (form.width - 1)
    magnitude = bits & ~form.sign
    if magnitude >= form.infinity:
        return _Number("infinite" if magnitude == form.infinity else "nan", sign)
    fraction = magnitude & ((1 << (form.precision - 1)) - 1)
    biased = magnitude >> (form.precision - 1)
    if biased:
        fraction |= 1 << (form.precision - 1)
    return _Number("finite", sign, fraction, form.quantum + max(biased - 1, 0))


def _is_signalling(form: Format, bits: int) -> bool:
    return bits & ~form.sign > form.infinity and not bits >> (form.precision - 2) & 1


def _nan(env: Environment, form: Format, invalid: bool) -> int:
    if invalid:
        env.flags |= NV
    return form.nan


def nan_operand(env: Environment, form: Format, *operands: int) -> bool:
    """Whether one of the operands is a NaN; a signalling one is invalid."""
    if any(_is_signalling(form, bits) for bits in operands):
        env.flags |= NV
    return any(bits & ~form.sign > form.infinity for bits in operands)


def _away(mode: int, sign: int, last: int, rest: int, half: int) -> bool:
    """Whether to round away from zero what lies ``rest`` (of 2 ``half``) beyond the last place."""
    if mode == NEAREST_EVEN:
        return rest > half or (rest == half and bool(last & 1))
    if mode == NEAREST_AWAY:
        return rest >= half
    return bool(rest) and mode == (DOWN if sign else UP)


def _at_quantum(mode: int, sign: int, mantissa: int, shift: int) -> tuple[int, bool]:
    """``mantissa`` without its last ``shift`` bits, rounded, and whether that is inexact."""
    if shift <= 0:
        return mantissa << -shift, False
    kept, rest = mantissa >> shift, mantissa & ((1 << shift) - 1)
    return kept + _away(mode, sign, kept, rest, 1 << (shift - 1)), rest != 0


def _overflow(env: Environment, form: Format, sign: int) -> int:
    env.flags |= OF | NX
    to_infinity = env.rounding in (NEAREST_EVEN, NEAREST_AWAY, DOWN if sign else UP)
    return (form.sign if sign else 0) | form.infinity - (not to_infinity)


def _pack(env: Environment, form: Format, sign: int, mantissa: int, exponent: int) -> int:
    """Round ``mantissa * 2**exponent`` to the format."""
    signed_zero = form.sign if sign else 0
    if mantissa == 0:
        return signed_zero
    # With an unbounded exponent first: that decides whether the result is tiny.
    free = exponent + mantissa.bit_length() - form.precision
    rounded, inexact = _at_quantum(env.rounding, sign, mantissa, free - exponent)
    tiny = (free + (rounded.bit_length() > form.precision)) < form.quantum
    if free < form.quantum:
        rounded, inexact = _at_quantum(env.rounding, sign, mantissa, form.quantum - exponent)
    if tiny and env.flushing & FLUSH_RESULTS:
        env.flags |= UF | NX
        return signed_zero
    place = max(free, form.quantum)
    if rounded.bit_length() > form.precision:
        rounded, place = rounded >> 1, place + 1
    if place + form.precision - 1 > form.maximum_exponent:
        return _overflow(env, form, sign)
    if inexact:
        env.flags |= NX | (UF if tiny else 0)
    # The implied bit carries into the exponent field, which then needs one less.
    return signed_zero | (((place - form.quantum) << (form.precision - 1)) + rounded)


def _sum(env: Environment, form: Format, a: _Number, b: _Number) -> int:
    """The sum of finite numbers."""
    exponent = min(a.exponent, b.exponent)
    total = (a.signed << (a.exponent - exponent)) + (b.signed << (b.exponent - exponent))
    if total:
        return _pack(env, form, int(total < 0), abs(total), exponent)
    sign = a.sign if a.sign == b.sign else int(env.rounding == DOWN)
    return form.sign if sign else 0


def _infinity(form: Format, sign: int) -> int:
    return form.infinity | (form.sign if sign else 0)


def add(env: Environment, form: Format, a: int, b: int) -> int:
    """a + b."""
    if nan_operand(env, form, a, b):
        return form.nan
    return _add_numbers(env, form, _unpack(form, a), _unpack(form, b))


def _add_numbers(env: Environment, form: Format, a: _Number, b: _Number) -> int:
    if a.kind == "infinite":
        if b.kind == "infinite" and a.sign != b.sign:
            return _nan(env, form, invalid=True)
        return _infinity(form, a.sign)
    if b.kind == "infinite":
        return _infinity(form, b.sign)
    return _sum(env, form, a, b)


def subtract(env: Environment, form: Format, a: int, b: int) -> int:
    """a - b."""
    return add(env, form, a, b ^ form.sign)


def _product(a: _Number, b: _Number) -> _Number | None:
    """The exact product, or None for infinity times zero."""
    sign = a.sign ^ b.sign
    if "infinite" in (a.kind, b.kind):
        return None if a.zero or b.zero else _Number("infinite", sign)
    return _Number("finite", sign, a.mantissa * b.mantissa, a.exponent + b.exponent)


def multiply(env: Environment, form: Format, a: int, b: int) -> int:
    """a * b."""
    if nan_operand(env, form, a, b):
        return form.nan
    product = _product(_unpack(form, a), _unpack(form, b))
    if product is None:
        return _nan(env, form, invalid=True)
    if product.kind == "infinite":
        return _infinity(form, product.sign)
    return _pack(env, form, product.sign, product.mantissa, product.exponent)


def multiply_add(env: Environment, form: Format, a: int, b: int, c: int) -> int:
    """a * b + c, rounded once."""
    if nan_operand(env, form, a, b, c):
        return form.nan
    product = _product(_unpack(form, a), _unpack(form, b))
    if product is None:
        return _nan(env, form, invalid=True)
    return _add_numbers(env, form, product, _unpack(form, c))


def divide(env: Environment, form: Format, a: int, b: int) -> int:
    """a / b."""
    if nan_operand(env, form, a, b):
        return form.nan
    x, y = _unpack(form, a), _unpack(form, b)
    sign = x.sign ^ y.sign
    if x.kind == y.kind == "infinite" or (x.zero and y.zero):
        return _nan(env, form, invalid=True)
    if x.kind == "infinite":
        return _infinity(form, sign)
    if y.kind == "infinite" or x.zero:
        return form.sign if sign else 0
    if y.zero:
        env.flags |= DZ
        return _infinity(form, sign)
    shift = max(0, form.precision + 2 + y.mantissa.bit_length() - x.mantissa.bit_length())
    quotient, rest = divmod(x.mantissa << shift, y.mantissa)
    return _pack(env, form, sign, quotient << 1 | (rest != 0), x.exponent - y.exponent - shift - 1)


def square_root(env: Environment, form: Format, a: int) -> int:
    """The square root of a."""
    if nan_operand(env, form, a):
        return form.nan
    x = _unpack(form, a)
    if x.zero:
        return a
    if x.sign:
        return _nan(env, form, invalid=True)
    if x.kind == "infinite":
        return a
    shift = 2 * form.precision + 2
    shift += (x.exponent - shift) & 1
    scaled = x.mantissa << shift
    root = isqrt(scaled)
    return _pack(env, form, 0, root << 1 | (root * root != scaled), (x.exponent - shift) // 2 - 1)


def convert(env: Environment, source: Format, target: Format, a: int) -> int:
    """The same number in another format."""
    if nan_operand(env, source, a):
        return target.nan
    x = _unpack(source, a)
    if x.kind == "infinite":
        return _infinity(target, x.sign)
    return _pack(env, target, x.sign, x.mantissa, x.exponent)


def round_to_integral(env: Environment, form: Format, a: int) -> int:
    """An integral number; inexact if that is another one."""
    if nan_operand(env, form, a):
        return form.nan
    x = _unpack(form, a)
    if x.kind == "infinite" or x.exponent >= 0:
        return a
    integer, inexact = _at_quantum(env.rounding, x.sign, x.mantissa, -x.exponent)
    if inexact:
        env.flags |= NX
    return _pack(env, form, x.sign, integer, 0)


def nearby_integral(env: Environment, form: Format, a: int, rounding: int | None = None) -> int:
    """An integral number, in a mode of its own or the current one; never inexact."""
    own = Environment(env.rounding if rounding is None else rounding)
    result = round_to_integral(own, form, a)
    env.flags |= own.flags & NV
    return result


def from_integer(env: Environment, form: Format, value: int) -> int:
    """A Python integer as a number."""
    return _pack(env, form, int(value < 0), abs(value), 0)


def to_integer(env: Environment, form: Format, a: int, low: int, high: int) -> int:
    """Truncated to an integer; ValueError unless it lies from ``low`` to ``high``."""
    x = _unpack(form, a)
    if x.kind == "finite":
        magnitude, inexact = _at_quantum(TOWARD_ZERO, x.sign, x.mantissa, -x.exponent)
        value = -magnitude if x.sign else magnitude
        if low <= value <= high:
            if inexact:
                env.flags |= NX
            return value
    raise ValueError(f"{a:#x} is no integer from {low} to {high}")


def to_integer_or_lowest(env: Environment, form: Format, a: int, width: int, rounding: int) -> int:
    """Rounded to a signed integer of ``width`` bits, as unsigned bits; the lowest one, and invalid,
    for what is no such integer."""
    x, half = _unpack(form, a), 1 << (width - 1)
    if x.kind == "finite":
        magnitude, inexact = _at_quantum(rounding, x.sign, x.mantissa, -x.exponent)
        value = -magnitude if x.sign else magnitude
        if -half <= value < half:
            env.flags |= NX if inexact else 0
            return value & (2 * half - 1)
    env.flags |= NV
    return half
