"""M: integer multiplication and division (volume I, chapter 13)."""

from __future__ import annotations

from ....ir.value import Value, pure, select
from .i import OP, OP_32, Binary, register


def _high(a: Value, b: Value) -> Value:
    return (a * b)[127:64]


def mulh(a: Value, b: Value) -> Value:
    return _high(a.sext(128), b.sext(128))


def mulhsu(a: Value, b: Value) -> Value:
    return _high(a.sext(128), b.zext(128))


def mulhu(a: Value, b: Value) -> Value:
    return _high(a.zext(128), b.zext(128))


def quotient(a: Value, b: Value) -> Value:
    """Signed; by zero it is -1, and the one that overflows is the dividend (I 13.2)."""
    zero = b == 0
    overflow = (a == 1 << (a.width - 1)) & (b == -1)
    result = pure("sdiv", a, select(zero | overflow, 1, b))
    return select(zero, -1, result)


def quotient_unsigned(a: Value, b: Value) -> Value:
    """Unsigned; by zero it is all ones."""
    zero = b == 0
    return select(zero, -1, pure("udiv", a, select(zero, 1, b)))


def remainder(a: Value, b: Value) -> Value:
    """Signed; by zero it is the dividend, and 0 where the quotient overflows."""
    zero = b == 0
    minus_one = b == -1
    result = pure("srem", a, select(zero | minus_one, 1, b))
    return select(zero, a, result)


def remainder_unsigned(a: Value, b: Value) -> Value:
    """Unsigned; by zero it is the dividend."""
    zero = b == 0
    return select(zero, a, pure("urem", a, select(zero, 1, b)))


_DIVISIONS = (
    ("div", "100", quotient),
    ("divu", "101", quotient_unsigned),
    ("rem", "110", remainder),
    ("remu", "111", remainder_unsigned),
)

for _name, _funct3, _operation in (
    ("mul", "000", lambda a, b: a * b),
    ("mulh", "001", mulh),
    ("mulhsu", "010", mulhsu),
    ("mulhu", "011", mulhu),
    *_DIVISIONS,
):
    register("m", _name, "0000001", _funct3, _operation, OP)


def _on_words(operation: Binary) -> Binary:
    return lambda a, b: operation(a.trunc(32), b.trunc(32)).sext(64)


for _name, _funct3, _operation in (("mul", "000", lambda a, b: a * b), *_DIVISIONS):
    register("m", _name + "w", "0000001", _funct3, _on_words(_operation), OP_32)
