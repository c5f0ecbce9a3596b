"""Floating-point operations by their names in traces, evaluated by `softfloat`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from . import softfloat
from .fp import FLUSH_OPERANDS
from .ops import signed
from .softfloat import FORMATS, Environment

__all__ = ["COMPARISONS", "floating"]

COMPARISONS: dict[str, Callable[..., int]] = {
    "fequal": softfloat.equal,
    "fless": softfloat.less,
    "fless_equal": softfloat.less_equal,
    "funordered": softfloat.unordered,
    "fequal_unordered": softfloat.equal_or_unordered,
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


def _flushed(form: softfloat.Format, bits: int) -> int:
    """A number with zero for what is subnormal."""
    return bits & form.sign if bits & ~form.sign < form.smallest else bits


def floating(
    environment: Environment, op: str, width: int, to: int, operands: Sequence[int]
) -> int:
    """One operation on numbers of ``width`` bits; the result has ``to`` bits. Flags are raised in
    ``environment``."""
    if environment.flushing & FLUSH_OPERANDS and not op.startswith("from_"):
        operands = [_flushed(FORMATS[width], bits) for bits in operands]
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
        case "to_signed":
            half = 1 << (to - 1)
            return softfloat.to_integer(environment, FORMATS[width], number, -half, half - 1)
        case "to_unsigned":
            return softfloat.to_integer(environment, FORMATS[width], number, 0, (1 << to) - 1)
    raise NotImplementedError(op)
