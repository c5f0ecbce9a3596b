"""The one table of pure integer operations: what each means in Python and in LLVM.

Values are bit vectors, held in Python as unsigned integers. ``evaluate(width, *operands)`` gets
the width of the *operands* (of the first one where they differ) and may return any integer; the
caller cuts it to the width of the result. In ``llvm``, ``{t}`` is the LLVM type of the operands,
``{r}`` that of the result, ``{s}`` the operands' type in an intrinsic's name, ``{a} {b} {c}`` the
operands. An operation can be applied to the lanes of vectors too, see `vector`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from msgspec import Struct

__all__ = ["COMPARISONS", "OPS", "Op", "Result", "signed"]


class Result(Enum):
    """How wide a result is."""

    SAME = "as the operands"
    BIT = "one bit"
    GIVEN = "stated by the user of the operation"


class Op(Struct, frozen=True):
    """One pure operation. ``commutes`` lets the folder put a constant last."""

    llvm: str
    evaluate: Callable[..., int]
    result: Result = Result.SAME
    commutes: bool = False


def signed(value: int, width: int) -> int:
    """The two's-complement reading of an unsigned ``value`` of ``width`` bits."""
    return value - (1 << width) if value >> (width - 1) & 1 else value


def _truncated_quotient(a: int, b: int) -> int:
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def _sdiv(w: int, a: int, b: int) -> int:
    return _truncated_quotient(signed(a, w), signed(b, w))


def _srem(w: int, a: int, b: int) -> int:
    a, b = signed(a, w), signed(b, w)
    return a - b * _truncated_quotient(a, b)


def _saturated(w: int, value: int) -> int:
    return max(-(1 << (w - 1)), min(value, (1 << (w - 1)) - 1))


def _leading_zeros(w: int, a: int) -> int:
    return w - a.bit_length()


def _trailing_zeros(w: int, a: int) -> int:
    return (a & -a).bit_length() - 1 if a else w


def _reverse_bytes(w: int, a: int) -> int:
    return int.from_bytes(a.to_bytes(w // 8, "little"), "big")


def _reverse_bits(w: int, a: int) -> int:
    return int(f"{a:0{w}b}"[::-1], 2)


def _intrinsic(name: str, operands: str = "{t} {a}") -> str:
    return f"call {{r}} @llvm.{name}.{{s}}({operands})"


def _comparison(predicate: str, test: Callable[[int, int], bool]) -> Op:
    """A comparison by the LLVM predicate; those that start with ``s`` read signed operands."""
    if predicate[0] == "s":

        def evaluate(w: int, a: int, b: int) -> int:
            return test(signed(a, w), signed(b, w))
    else:

        def evaluate(w: int, a: int, b: int) -> int:
            return test(a, b)

    return Op(f"icmp {predicate} {{t}} {{a}}, {{b}}", evaluate, Result.BIT)


COMPARISONS: dict[str, Op] = {
    "eq": _comparison("eq", lambda a, b: a == b),
    "ne": _comparison("ne", lambda a, b: a != b),
    "ult": _comparison("ult", lambda a, b: a < b),
    "ule": _comparison("ule", lambda a, b: a <= b),
    "slt": _comparison("slt", lambda a, b: a < b),
    "sle": _comparison("sle", lambda a, b: a <= b),
}

OPS: dict[str, Op] = COMPARISONS | {
    "add": Op("add {t} {a}, {b}", lambda w, a, b: a + b, commutes=True),
    "sub": Op("sub {t} {a}, {b}", lambda w, a, b: a - b),
    "mul": Op("mul {t} {a}, {b}", lambda w, a, b: a * b, commutes=True),
    "and": Op("and {t} {a}, {b}", lambda w, a, b: a & b, commutes=True),
    "or": Op("or {t} {a}, {b}", lambda w, a, b: a | b, commutes=True),
    "xor": Op("xor {t} {a}, {b}", lambda w, a, b: a ^ b, commutes=True),
    # A shift by the width or more is undefined in LLVM: descriptions mask the amount.
    "shl": Op("shl {t} {a}, {b}", lambda w, a, b: a << b),
    "lsr": Op("lshr {t} {a}, {b}", lambda w, a, b: a >> b),
    "asr": Op("ashr {t} {a}, {b}", lambda w, a, b: signed(a, w) >> b),
    # Division by zero and the quotient that overflows are undefined in LLVM, so descriptions
    # select a harmless divisor first.
    "udiv": Op("udiv {t} {a}, {b}", lambda w, a, b: a // b),
    "urem": Op("urem {t} {a}, {b}", lambda w, a, b: a % b),
    "sdiv": Op("sdiv {t} {a}, {b}", _sdiv),
    "srem": Op("srem {t} {a}, {b}", _srem),
    "umin": Op(_intrinsic("umin", "{t} {a}, {t} {b}"), lambda w, a, b: min(a, b)),
    "umax": Op(_intrinsic("umax", "{t} {a}, {t} {b}"), lambda w, a, b: max(a, b)),
    "smin": Op(
        _intrinsic("smin", "{t} {a}, {t} {b}"), lambda w, a, b: min(signed(a, w), signed(b, w))
    ),
    "smax": Op(
        _intrinsic("smax", "{t} {a}, {t} {b}"), lambda w, a, b: max(signed(a, w), signed(b, w))
    ),
    "rotl": Op(
        _intrinsic("fshl", "{t} {a}, {t} {a}, {t} {b}"),
        lambda w, a, b: a << b % w | a >> (w - b % w),
    ),
    "rotr": Op(
        _intrinsic("fshr", "{t} {a}, {t} {a}, {t} {b}"),
        lambda w, a, b: a >> b % w | a << (w - b % w),
    ),
    "abs": Op(_intrinsic("abs", "{t} {a}, i1 false"), lambda w, a: abs(signed(a, w))),
    # Sums and differences that stop at the ends of their range.
    "uadd_sat": Op(
        _intrinsic("uadd.sat", "{t} {a}, {t} {b}"), lambda w, a, b: min(a + b, (1 << w) - 1)
    ),
    "usub_sat": Op(_intrinsic("usub.sat", "{t} {a}, {t} {b}"), lambda w, a, b: max(a - b, 0)),
    "sadd_sat": Op(
        _intrinsic("sadd.sat", "{t} {a}, {t} {b}"),
        lambda w, a, b: _saturated(w, signed(a, w) + signed(b, w)),
    ),
    "ssub_sat": Op(
        _intrinsic("ssub.sat", "{t} {a}, {t} {b}"),
        lambda w, a, b: _saturated(w, signed(a, w) - signed(b, w)),
    ),
    "clz": Op(_intrinsic("ctlz", "{t} {a}, i1 false"), _leading_zeros),
    "ctz": Op(_intrinsic("cttz", "{t} {a}, i1 false"), _trailing_zeros),
    "popcount": Op(_intrinsic("ctpop"), lambda w, a: a.bit_count()),
    "bswap": Op(_intrinsic("bswap"), _reverse_bytes),
    "bitreverse": Op(_intrinsic("bitreverse"), _reverse_bits),
    "zext": Op("zext {t} {a} to {r}", lambda w, a: a, Result.GIVEN),
    "sext": Op("sext {t} {a} to {r}", lambda w, a: signed(a, w), Result.GIVEN),
    "trunc": Op("trunc {t} {a} to {r}", lambda w, a: a, Result.GIVEN),
}
