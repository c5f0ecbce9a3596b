"""Comparisons of floating-point numbers in exact integers: what those of `fp` mean."""

from __future__ import annotations

from .fp import NV
from .softfloat import Environment, Format, nan_operand

__all__ = [
    "equal", "equal_or_unordered", "less", "less_equal", "less_equal_quiet", "less_quiet",
    "unordered",
]  # fmt: skip


def _compare(form: Format, a: int, b: int) -> int:
    """Negative, zero or positive as a < b, a == b, a > b; neither is a NaN."""

    def order(bits: int) -> int:
        magnitude = bits & ~form.sign
        return -magnitude if bits & form.sign else magnitude

    return order(a) - order(b)


def equal(env: Environment, form: Format, a: int, b: int) -> int:
    """a == b; quiet."""
    return int(not nan_operand(env, form, a, b) and _compare(form, a, b) == 0)


def unordered(env: Environment, form: Format, a: int, b: int) -> int:
    """Whether one of them is a NaN; quiet."""
    return int(nan_operand(env, form, a, b))


def equal_or_unordered(env: Environment, form: Format, a: int, b: int) -> int:
    """a == b, or one of them is a NaN; quiet."""
    return int(nan_operand(env, form, a, b) or _compare(form, a, b) == 0)


def _signalling_comparison(env: Environment, form: Format, a: int, b: int) -> int | None:
    if nan_operand(env, form, a, b):
        env.flags |= NV
        return None
    return _compare(form, a, b)


def less(env: Environment, form: Format, a: int, b: int) -> int:
    """a < b; invalid for every NaN."""
    order = _signalling_comparison(env, form, a, b)
    return int(order is not None and order < 0)


def less_quiet(env: Environment, form: Format, a: int, b: int) -> int:
    """a < b; quiet."""
    return int(not nan_operand(env, form, a, b) and _compare(form, a, b) < 0)


def less_equal_quiet(env: Environment, form: Format, a: int, b: int) -> int:
    """a <= b; quiet."""
    return int(not nan_operand(env, form, a, b) and _compare(form, a, b) <= 0)


def less_equal(env: Environment, form: Format, a: int, b: int) -> int:
    """a <= b; invalid for every NaN."""
    order = _signalling_comparison(env, form, a, b)
    return int(order is not None and order <= 0)
