"""Zbkx: look-up in a register, by bytes and by nibbles (volume I, 28.4.6)."""

from __future__ import annotations

from ....ir.value import Value, const, select
from .i import OP, Binary, register


def _permutation(width: int) -> Binary:
    """Each element of ``b`` chooses an element of ``a``, zero if it lies outside."""
    count = 64 // width

    def operation(a: Value, b: Value) -> Value:
        result = const(0, 64)
        for n in range(count):
            index = b[width * n + width - 1 : width * n].zext(64)
            element = a.lsr((index & (count - 1)) * width) & ((1 << width) - 1)
            result = result | select(index.ult(count), element, 0) << width * n
        return result

    return operation


register("zbkx", "xperm4", "0010100", "010", _permutation(4), OP)
register("zbkx", "xperm8", "0010100", "100", _permutation(8), OP)
