"""Zba: address generation (volume I, 28.4.1)."""

from __future__ import annotations

from ....ir.value import Value
from ...trace import Cpu
from ..state import rv64
from .i import OP, OP_32, Binary, register


def _zext32(value: Value) -> Value:
    return value.trunc(32).zext(64)


def _scaled(shift: int, word: bool) -> Binary:
    return lambda a, b: ((_zext32(a) if word else a) << shift) + b


register("zba", "add.uw", "0000100", "000", _scaled(0, word=True), OP_32)
for _shift, _funct3 in ((1, "010"), (2, "100"), (3, "110")):
    register("zba", f"sh{_shift}add", "0010000", _funct3, _scaled(_shift, word=False), OP)
    register("zba", f"sh{_shift}add.uw", "0010000", _funct3, _scaled(_shift, word=True), OP_32)


@rv64.insn("000010 shamt:6 rs1:5 001 rd:5 0011011", "slli.uw {rd:x}, {rs1:x}, {shamt}")
def slli_uw(cpu: Cpu, shamt: Value, rs1: Value, rd: Value) -> None:
    cpu.x[rd] = _zext32(cpu.x[rs1]) << shamt.zext(64)
