"""Floating-point operations by their names in traces, evaluated by `softfloat`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from . import softfloat, softfloat_order
from .effects import FloatOperation
from .fp import DE, DZ, FLUSH_OPERANDS, NV
from .ops import signed
from .softfloat import FORMATS, Environment, Format

__all__ = ["COMPARISONS", "floating"]

COMPARISONS: dict[str, Callable[..., int]] = {
    "fequal": softfloat_order.equal,
    "fless": softfloat_order.less,
    "fless_equal": softfloat_order.less_equal,
    "fless_quiet": softfloat_order.less_quiet,
    "fless_equal_quiet": softfloat_order.less_equal_quiet,
    "funordered": softfloat_order.unordered,
    "fequal_unordered": softfloat_order.equal_or_unordered,
}
_ARITHMETIC: dict[str, Callable[..., int]] = COMPARISONS | {
    "fadd": softfloat.add,
    "fsub": softfloat.subtract,
    "fmul": softfloat.multiply,
    "fdiv": softfloat.divide,
    "fsqrt": softfloat.square_root,
    "ffma": softfloat.multiply_add,
    "fround": softfloat.round_to_integral,
    "fround_current": softfloat.nearby_integral,
    **{
        f"fround_{how}": partial(softfloat.nearby_integral, rounding=mode)
        for how, mode in (
            ("even", softfloat.NEAREST_EVEN),
            ("zero", softfloat.TOWARD_ZERO),
            ("down", softfloat.DOWN),
            ("up", softfloat.UP),
        )
    },
}

_NOTING = {*COMPARISONS, "fadd", "fsub", "fmul", "fdiv", "fsqrt", "ffma", "fconvert"}
"""Operations that note subnormal operands."""


def _flushed(form: softfloat.Format, bits: int) -> int:
    """A number with zero for what is subnormal."""
    return bits & form.sign if bits & ~form.sign < form.smallest else bits


def floating(environment: Environment, value: FloatOperation, operands: Sequence[int]) -> int:
    """An operation on the numbers of one lane; flags are raised in ``environment``."""
    flushing = environment.flushing
    if flushing & FLUSH_OPERANDS and value.lane > 16 and not value.op.startswith("from_"):
        operands = [_flushed(FORMATS[value.lane], bits) for bits in operands]
    before, environment.flags = environment.flags, 0
    environment.flushing = flushing if value.to > 16 else 0
    result = _computed(environment, value.op, value.lane, value.to, operands)
    environment.flushing = flushing
    if environment.notes_subnormal and value.op in _NOTING and value.lane > 16:
        _note_subnormal(environment, FORMATS[value.lane], operands)
    environment.flags |= before
    if value.first_nan and FORMATS[value.to].is_nan(result):
        return _first_nan(FORMATS[value.lane], FORMATS[value.to], operands)
    return result


def _note_subnormal(environment: Environment, form: Format, operands: Sequence[int]) -> None:
    """Raise DE for subnormal operands, unless something else says more (Intel SDM 1, 4.9.2)."""
    if environment.flags & (NV | DZ) or any(form.is_nan(bits) for bits in operands):
        return
    if any(0 < bits & ~form.sign < form.smallest for bits in operands):
        environment.flags |= DE


def _first_nan(source: Format, target: Format, operands: Sequence[int]) -> int:
    """The first NaN among the operands, quiet and in another format; else a negative default."""
    for bits in operands:
        if source.is_nan(bits):
            payload = bits & (source.smallest - 1)
            up = target.precision - source.precision
            payload = payload << up if up >= 0 else payload >> -up
            sign = target.sign if bits & source.sign else 0
            return sign | target.infinity | target.quiet | payload
    return target.sign | target.nan


def _computed(
    environment: Environment, op: str, width: int, to: int, operands: Sequence[int]
) -> int:
    arithmetic = _ARITHMETIC.get(op)
    if arithmetic is not None:
        return arithmetic(environment, FORMATS[width], *operands)
    (number,) = operands
    match op:
        case "fconvert":
            return softfloat.convert(environment, FORMATS[width], FORMATS[to], number)
        case "from_signed":
            return softfloat.from_integer(environment, FORMATS[to], signed(number, width))
        case "from_unsigned":
            return softfloat.from_integer(environment, FORMATS[to], number)
        case "to_signed_or_lowest" | "rounded_or_lowest":
            mode = environment.rounding if op.startswith("rounded") else softfloat.TOWARD_ZERO
            return softfloat.to_integer_or_lowest(environment, FORMATS[width], number, to, mode)
        case "to_signed":
            half = 1 << (to - 1)
            return softfloat.to_integer(environment, FORMATS[width], number, -half, half - 1)
        case "to_unsigned":
            return softfloat.to_integer(environment, FORMATS[width], number, 0, (1 << to) - 1)
    raise NotImplementedError(op)
