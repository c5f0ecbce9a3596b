"""Floating point on bit vectors of 16, 32 and 64 bits: what every instruction set shares.

Arithmetic is IEEE 754 in the *current* rounding mode and raises exact sticky flags; on the host
it is one instruction of the host's own FPU (LLVM's constrained intrinsics with dynamic rounding
and strict exceptions), in the reference it is `softfloat`. Differences between architectures are in
their `isa.floating.FloatPolicy`, such as which NaN results, and in their descriptions: minimum and
maximum, conversions out of range (`to_signed` and `to_unsigned` need an argument in range).

Flags are one value of five bits: NX 1, UF 2, OF 4, DZ 8, NV 16; where an instruction set asks for
them (`isa.floating.FloatPolicy`), of six: DE 32 notes an operand that is subnormal. Rounding modes
are `Rounding`'s.
Tininess is detected after rounding, and what is tiny is kept unless `set_flushing` says otherwise.
Half precision (16 bits) is computed in wider formats where the host converts to and from it, else
by the reference.

Most operations can be applied to the lanes of vectors, ``lane`` bits wide each (see `vector`).
"""

from __future__ import annotations

from enum import IntEnum

from .effects import FloatControl, FloatFlags, FloatOperation, WithNan
from .value import Value, fail, lift, perform

__all__ = [
    "DE", "DZ", "FLUSH_OPERANDS", "FLUSH_RESULTS", "NV", "NX", "OF", "UF", "Rounding",
    "add", "convert", "div", "equal", "equal_or_unordered", "flags", "from_signed",
    "from_unsigned", "is_nan", "less", "less_equal", "less_equal_quiet", "less_quiet", "mul",
    "mul_add", "raise_flags", "round_to_integral", "rounded", "rounded_or_lowest", "set_flags",
    "set_flushing", "set_rounding", "sqrt", "sub", "to_signed", "to_signed_or_lowest",
    "to_unsigned", "unordered", "with_nan",
]  # fmt: skip

NX, UF, OF, DZ, NV, DE = 1, 2, 4, 8, 16, 32


class Rounding(IntEnum):
    """The rounding modes of IEEE 754 (4.3). No common host has the last one: descriptions leave
    operations in this mode to the reference."""

    NEAREST_EVEN = 0
    TOWARD_ZERO = 1
    DOWN = 2
    UP = 3
    NEAREST_AWAY = 4


FORMATS = (16, 32, 64)


def _apply(op: str, *args: Value, lane: int = 0, to: int = 0, first_nan: bool = False) -> Value:
    """An operation on whole operands, or on their lanes; the result's lanes are as wide, or
    ``to`` bits."""
    lane = lane or args[0].width
    if any(arg.width != args[0].width for arg in args) or args[0].width % lane:
        fail(f"{op} of {[a.width for a in args]} bits in lanes of {lane}")
    return perform(FloatOperation(op, lane, to or lane, *args, first_nan=first_nan))


def _arithmetic(op: str, *args: Value, lane: int = 0, first_nan: bool = False) -> Value:
    if (lane or args[0].width) not in FORMATS:
        fail(f"{op} of {lane or args[0].width} bits")
    return _apply(op, *args, lane=lane, first_nan=first_nan)


# With ``first_nan`` the result is the first operand that is a NaN, made quiet, or a negative
# default NaN where none of them is one. Without it, which NaN results is not said.


def add(a: Value, b: Value, lane: int = 0, first_nan: bool = False) -> Value:
    """a + b."""
    return _arithmetic("fadd", a, b, lane=lane, first_nan=first_nan)


def sub(a: Value, b: Value, lane: int = 0, first_nan: bool = False) -> Value:
    """a - b."""
    return _arithmetic("fsub", a, b, lane=lane, first_nan=first_nan)


def mul(a: Value, b: Value, lane: int = 0, first_nan: bool = False) -> Value:
    """a * b."""
    return _arithmetic("fmul", a, b, lane=lane, first_nan=first_nan)


def div(a: Value, b: Value, lane: int = 0, first_nan: bool = False) -> Value:
    """a / b."""
    return _arithmetic("fdiv", a, b, lane=lane, first_nan=first_nan)


def sqrt(a: Value, lane: int = 0, first_nan: bool = False) -> Value:
    """The square root."""
    return _arithmetic("fsqrt", a, lane=lane, first_nan=first_nan)


def mul_add(a: Value, b: Value, c: Value, lane: int = 0, first_nan: bool = False) -> Value:
    """a * b + c with one rounding."""
    return _arithmetic("ffma", a, b, c, lane=lane, first_nan=first_nan)


def convert(a: Value, width: int, lane: int = 0, first_nan: bool = False) -> Value:
    """The same number in another format, of ``width`` bits."""
    return _apply("fconvert", a, lane=lane, to=width, first_nan=first_nan)


def round_to_integral(a: Value, lane: int = 0, first_nan: bool = False) -> Value:
    """An integral number in the same format; raises NX if that changes it."""
    return _arithmetic("fround", a, lane=lane, first_nan=first_nan)


ROUNDINGS = ("even", "zero", "down", "up", "current")


def rounded(a: Value, how: str, lane: int = 0, first_nan: bool = False) -> Value:
    """An integral number by one of `ROUNDINGS`, whatever the current mode is; never raises NX."""
    if how not in ROUNDINGS:
        fail(f"no rounding {how!r}")
    return _arithmetic(f"fround_{how}", a, lane=lane, first_nan=first_nan)


def from_signed(value: Value, width: int, lane: int = 0) -> Value:
    """A signed integer (32 or 64 bits) as a number of ``width`` bits."""
    return _apply("from_signed", value, lane=lane, to=width)


def from_unsigned(value: Value, width: int, lane: int = 0) -> Value:
    """An unsigned integer (32 or 64 bits) as a number of ``width`` bits."""
    return _apply("from_unsigned", value, lane=lane, to=width)


def to_signed(a: Value, width: int, lane: int = 0) -> Value:
    """Truncated to a signed integer of 32 or 64 bits; NX if inexact. It must be in range."""
    return _apply("to_signed", a, lane=lane, to=width)


def to_unsigned(a: Value, width: int, lane: int = 0) -> Value:
    """Truncated to an unsigned integer of 32 or 64 bits; NX if inexact. It must be in range."""
    return _apply("to_unsigned", a, lane=lane, to=width)


def to_signed_or_lowest(a: Value, width: int, lane: int = 0) -> Value:
    """Truncated to a signed integer of 32 or 64 bits; NX if inexact. What is none raises NV and
    gives the lowest integer."""
    return _apply("to_signed_or_lowest", a, lane=lane, to=width)


def rounded_or_lowest(a: Value, width: int, lane: int = 0) -> Value:
    """The same, rounded in the current mode."""
    return _apply("rounded_or_lowest", a, lane=lane, to=width)


def equal(a: Value, b: Value, lane: int = 0) -> Value:
    """a == b; only a signalling NaN raises NV. One bit, or lanes of ones or zeros."""
    return _apply("fequal", a, lift(b, a.width), lane=lane, to=lane or 1)


def less(a: Value, b: Value, lane: int = 0) -> Value:
    """a < b; any NaN raises NV."""
    return _apply("fless", a, lift(b, a.width), lane=lane, to=lane or 1)


def less_equal(a: Value, b: Value, lane: int = 0) -> Value:
    """a <= b; any NaN raises NV."""
    return _apply("fless_equal", a, lift(b, a.width), lane=lane, to=lane or 1)


def less_quiet(a: Value, b: Value, lane: int = 0) -> Value:
    """a < b; only a signalling NaN raises NV."""
    return _apply("fless_quiet", a, lift(b, a.width), lane=lane, to=lane or 1)


def less_equal_quiet(a: Value, b: Value, lane: int = 0) -> Value:
    """a <= b; only a signalling NaN raises NV."""
    return _apply("fless_equal_quiet", a, lift(b, a.width), lane=lane, to=lane or 1)


def unordered(a: Value, b: Value, lane: int = 0) -> Value:
    """Whether one of them is a NaN; only a signalling one raises NV."""
    return _apply("funordered", a, lift(b, a.width), lane=lane, to=lane or 1)


def equal_or_unordered(a: Value, b: Value, lane: int = 0) -> Value:
    """Whether a == b or one of them is a NaN; only a signalling one raises NV."""
    return _apply("fequal_unordered", a, lift(b, a.width), lane=lane, to=lane or 1)


def is_nan(a: Value) -> Value:
    """Whether ``a`` is a NaN, by its bits; raises nothing."""
    infinity = {16: 0x7C00, 32: 0x7F80_0000, 64: 0x7FF0_0000_0000_0000}[a.width]
    magnitude = a & ((1 << (a.width - 1)) - 1)
    return lift(infinity, a.width).ult(magnitude)


def with_nan(result: Value, nan: int) -> Value:
    """The result of an operation, so never a signalling NaN, with ``nan`` for any other NaN."""
    return perform(WithNan(result, lift(nan, result.width)))


def flags(width: int = 5) -> Value:
    """The sticky flags, five bits, or all six."""
    return perform(FloatFlags(width))


def set_flags(value: Value | int, width: int = 5) -> None:
    """Replace so many of the sticky flags."""
    perform(FloatControl("fp_set_flags", lift(value, width)))


def raise_flags(value: Value | int, width: int = 5) -> None:
    """Add sticky flags."""
    perform(FloatControl("fp_raise", lift(value, width)))


def set_rounding(mode: Value | int) -> None:
    """Make ``mode`` (three bits, a `Rounding` but `NEAREST_AWAY`) the current rounding mode."""
    perform(FloatControl("fp_set_rounding", lift(mode, 3)))


FLUSH_OPERANDS, FLUSH_RESULTS = 1, 2


def set_flushing(what: Value | int) -> None:
    """From now on replace tiny operands by zeros of their sign (`FLUSH_OPERANDS`), and tiny results
    likewise, raising UF and NX (`FLUSH_RESULTS`): Intel SDM 1, 10.2.3. Exact subnormal results are
    tiny too. Does not apply to half precision."""
    perform(FloatControl("fp_set_flushing", lift(what, 2)))
