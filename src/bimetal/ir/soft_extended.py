"""The operations of `extended` in exact integers: what they mean, bit by bit.

Of the transcendental ones this has none that a table of the processor's would be needed for: their
results are correctly rounded, which those of processors nearly always are.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt

from .extended import KNOWN_INEXACT
from .fp import Rounding
from .soft_extended_formats import (
    from_bcd,
    from_format,
    from_integer,
    to_bcd,
    to_format,
    to_integer,
)
from .soft_extended_work import (
    BIAS,
    C0,
    C1,
    C2,
    C3,
    DE,
    IE,
    INFINITY,
    PE,
    QUANTUM,
    SIGN,
    ZE,
    Number,
    Work,
    unpack,
)
from .transcendental import TRANSCENDENTAL

__all__ = ["evaluate_extended"]


def _finite(work: Work, value: int, exponent: int) -> int:
    return work.pack(int(value < 0), abs(value), exponent)


def add(work: Work, a: Number, b: Number) -> int:
    """a + b."""
    found = work.nan_of(a, b)
    if found is not None:
        return found
    if "infinite" in (a.kind, b.kind):
        if a.kind == b.kind and a.sign != b.sign:
            return work.invalid()
        return (a if a.kind == "infinite" else b).bits
    exponent = min(a.exponent, b.exponent)
    x, y = ((-n.mantissa if n.sign else n.mantissa) << (n.exponent - exponent) for n in (a, b))
    if x + y:
        return _finite(work, x + y, exponent)
    sign = a.sign if a.sign == b.sign else int(work.mode == Rounding.DOWN)
    return SIGN if sign else 0


def subtract(work: Work, a: Number, b: Number) -> int:
    """a - b."""
    if b.kind == "nan":
        return add(work, a, b)
    return add(work, a, unpack(b.bits ^ SIGN))


def multiply(work: Work, a: Number, b: Number) -> int:
    """a * b."""
    found = work.nan_of(a, b)
    if found is not None:
        return found
    sign = a.sign ^ b.sign
    if "infinite" in (a.kind, b.kind):
        if a.zero or b.zero:
            return work.invalid()
        return INFINITY | (SIGN if sign else 0)
    return work.pack(sign, a.mantissa * b.mantissa, a.exponent + b.exponent)


def divide(work: Work, a: Number, b: Number) -> int:
    """a / b."""
    found = work.nan_of(a, b)
    if found is not None:
        return found
    sign = a.sign ^ b.sign
    signed = SIGN if sign else 0
    if a.kind == b.kind == "infinite" or (a.zero and b.zero):
        work.status &= ~DE
        return work.invalid()
    if a.kind == "infinite":
        return INFINITY | signed
    if b.kind == "infinite" or a.zero:
        return signed
    if b.zero:
        work.status = work.status & ~DE | ZE
        return INFINITY | signed
    shift = max(0, 66 + b.mantissa.bit_length() - a.mantissa.bit_length())
    quotient, rest = divmod(a.mantissa << shift, b.mantissa)
    return work.pack(sign, quotient << 1 | (rest != 0), a.exponent - b.exponent - shift - 1)


def square_root(work: Work, a: Number) -> int:
    """The square root."""
    found = work.nan_of(a)
    if found is not None:
        return found
    if a.zero or (a.kind == "infinite" and not a.sign):
        return a.bits
    if a.sign:
        work.status &= ~DE
        return work.invalid()
    shift = 130 + (a.exponent & 1)
    scaled = a.mantissa << shift
    root = isqrt(scaled)
    return work.pack(0, root << 1 | (root * root != scaled), (a.exponent - shift) // 2 - 1)


def to_integral(work: Work, a: Number) -> int:
    """FRNDINT."""
    found = work.nan_of(a)
    if found is not None:
        return found
    if a.kind == "infinite" or a.zero or a.exponent >= 0:
        return a.bits
    whole = work.rounded(a.sign, a.mantissa, -a.exponent)
    status = work.status
    result = work.pack(a.sign, whole, 0, 64)
    work.status = status
    return result


def _compared(work: Work, a: Number, b: Number, quiet: bool) -> int:
    unordered = any(x.kind in ("nan", "unsupported") for x in (a, b))
    if unordered:
        bad = any(x.signalling or x.kind == "unsupported" for x in (a, b))
        work.status |= C0 | C2 | C3 | (IE if bad or not quiet else 0)
        return 0
    if a.subnormal or b.subnormal:
        work.status |= DE
    x, y = (_ordered(n) for n in (a, b))
    work.status |= C0 if x < y else C3 if x == y else 0
    return 0


def _ordered(n: Number) -> int:
    if n.kind == "infinite":
        size = 1 << 40000
    else:
        size = n.mantissa << (n.exponent - QUANTUM)
    return -size if n.sign else size


def _extracted(work: Work, a: Number, exponent: bool) -> int:
    """FXTRACT."""
    found = work.nan_of(a)
    if found is not None:
        return found
    if a.zero:
        work.status |= ZE
        return SIGN | INFINITY if exponent else a.bits
    if a.kind == "infinite":
        return INFINITY if exponent else a.bits
    length = a.mantissa.bit_length()
    if exponent:
        value = a.exponent + length - 1
        return work.pack(int(value < 0), abs(value), 0, 64)
    return (SIGN if a.sign else 0) | BIAS << 64 | a.mantissa << 64 - length


def _scaled(work: Work, a: Number, b: Number) -> int:
    """FSCALE: a times 2 to the power of b, truncated."""
    found = work.nan_of(a, b)
    if found is not None:
        return found
    if b.kind == "infinite":
        if (a.zero and not b.sign) or (a.kind == "infinite" and b.sign):
            return work.invalid()
        signed = SIGN if a.sign else 0
        return a.bits if a.zero or a.kind == "infinite" else signed | (0 if b.sign else INFINITY)
    if a.zero or a.kind == "infinite":
        return a.bits
    power = b.mantissa >> -b.exponent if b.exponent < 0 else b.mantissa << min(b.exponent, 20)
    power = min(power, 1 << 17)
    return work.pack(a.sign, a.mantissa, a.exponent + (-power if b.sign else power), 64)


def _remainder(work: Work, a: Number, b: Number, nearest: bool) -> int:
    """FPREM and FPREM1: C2 says that it is not finished, else C0, C3 and C1 are the quotient's last
    bits."""
    found = work.nan_of(a, b)
    if found is not None:
        return found
    if a.kind == "infinite" or b.zero:
        work.status &= ~DE
        return work.invalid()
    if b.kind == "infinite" or a.zero:
        return a.bits
    exponent = min(a.exponent, b.exponent)
    x, y = a.mantissa << a.exponent - exponent, b.mantissa << b.exponent - exponent
    apart = (a.exponent + a.mantissa.bit_length()) - (b.exponent + b.mantissa.bit_length())
    if apart >= 64:
        count = 32 + apart % 32
        unit = y << (apart - count)
        work.status |= C2
        return work.pack(a.sign, x % unit if unit else 0, exponent, 64)
    quotient, rest = divmod(x, y)
    sign = a.sign
    if nearest and (2 * rest > y or (2 * rest == y and quotient & 1)):
        quotient, rest, sign = quotient + 1, y - rest, sign ^ 1
    for bit, flag in enumerate((C1, C3, C0)):
        work.status |= flag if quotient >> bit & 1 else 0
    if not rest:
        return SIGN if a.sign else 0
    return work.pack(sign, rest, exponent, 64)


_ON_NUMBERS: dict[str, Callable[..., int]] = TRANSCENDENTAL | {
    "add": add, "sub": subtract, "mul": multiply, "div": divide, "sqrt": square_root,
    "rndint": to_integral, "scale": _scaled,
    "com": lambda work, a, b: _compared(work, a, b, quiet=False),
    "ucom": lambda work, a, b: _compared(work, a, b, quiet=True),
    "prem": lambda work, a, b: _remainder(work, a, b, nearest=False),
    "prem1": lambda work, a, b: _remainder(work, a, b, nearest=True),
    "exponent": lambda work, a: _extracted(work, a, exponent=True),
    "significand": lambda work, a: _extracted(work, a, exponent=False),
    "to_32": to_format(32, 24), "to_64": to_format(64, 53), "to_bcd": to_bcd,
    **{f"to_i{width}": to_integer(width, False) for width in (16, 32, 64)},
    **{f"cut_i{width}": to_integer(width, True) for width in (16, 32, 64)},
}  # fmt: skip
_ON_BITS: dict[str, Callable[..., int]] = {
    "from_32": from_format(32, 24), "from_64": from_format(64, 53), "from_i64": from_integer,
    "from_bcd": from_bcd,
}  # fmt: skip


def evaluate_extended(operation: str, control: int, *operands: int) -> int:
    """An operation's result, with its status above."""
    work = Work(control)
    if operation in _ON_BITS:
        result = _ON_BITS[operation](work, *operands)
    else:
        result = _ON_NUMBERS[operation](work, *map(unpack, operands))
    return result | (work.status | PE * (control & KNOWN_INEXACT != 0)) << 80
