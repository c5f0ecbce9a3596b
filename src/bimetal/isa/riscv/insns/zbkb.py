"""Zbkb: bit manipulation for cryptography, as far as Zbb does not have it (volume I, 28.4.5)."""

from __future__ import annotations

from ....ir.value import Value, pure
from ...trace import Cpu
from ..state import rv64
from .i import OP, OP_32, register


def _pack(a: Value, b: Value, half: int) -> Value:
    """The low halves of two words of twice ``half`` bits, the second one above."""
    return a.trunc(half).zext(64) | b.trunc(half).zext(64) << half


register("zbkb", "pack", "0000100", "100", lambda a, b: _pack(a, b, 32), OP)
register("zbkb", "packh", "0000100", "111", lambda a, b: _pack(a, b, 8), OP)


@rv64.insn(
    f"0000100 rs2:5 rs1:5 100 rd:5 {OP_32}",
    "packw {rd:x}, {rs1:x}, {rs2:x}",
    where=lambda rs2, rs1, rd: rs2 != 0,  # that is zext.h
)
def packw(cpu: Cpu, rs2: Value, rs1: Value, rd: Value) -> None:
    cpu.x[rd] = _pack(cpu.x[rs1], cpu.x[rs2], 16).trunc(32).sext(64)


@rv64.insn("011010000111 rs1:5 101 rd:5 0010011", "brev8 {rd:x}, {rs1:x}")
def brev8(cpu: Cpu, rs1: Value, rd: Value) -> None:
    cpu.x[rd] = pure("bitreverse", pure("bswap", cpu.x[rs1]))
