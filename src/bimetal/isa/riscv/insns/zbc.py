"""Zbc: carry-less multiplication (volume I, 28.4.3)."""

from __future__ import annotations

from ....ir.value import Value, const, select
from .i import OP, register


def _product(a: Value, b: Value) -> Value:
    """The product of two polynomials over GF(2), 128 bits."""
    wide = a.zext(128)
    total = const(0, 128)
    for n in range(64):
        total = total ^ select(b[n] == 1, wide << n, 0)
    return total


register("zbc", "clmul", "0000101", "001", lambda a, b: _product(a, b).trunc(64), OP)
register("zbc", "clmulh", "0000101", "011", lambda a, b: _product(a, b)[127:64], OP)
register("zbc", "clmulr", "0000101", "010", lambda a, b: _product(a, b)[126:63], OP)
