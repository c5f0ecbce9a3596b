"""Zbs: single-bit instructions (volume I, 28.4.4)."""

from __future__ import annotations

from ....ir.value import Value, const
from .i import OP, register, shift


def _bit(position: Value) -> Value:
    return const(1, 64) << (position & 63)


for _name, _funct6, _funct3, _operation in (
    ("bclr", "010010", "001", lambda a, b: a & ~_bit(b)),
    ("bext", "010010", "101", lambda a, b: a.lsr(b & 63) & 1),
    ("binv", "011010", "001", lambda a, b: a ^ _bit(b)),
    ("bset", "001010", "001", lambda a, b: a | _bit(b)),
):
    register("zbs", _name, _funct6 + "0", _funct3, _operation, OP)
    shift("zbs", _name + "i", f"{_funct6} shamt:6 rs1:5 {_funct3} rd:5", _operation)
