"""Zbb: basic bit manipulation (volume I, 28.4.2)."""

from __future__ import annotations

from collections.abc import Callable

from ....ir.value import Value, pure
from ...trace import Cpu
from ..state import rv64
from .i import OP, OP_32, Binary, register, shift, shift_word


def _operation(name: str) -> Binary:
    """An operation of the table on two operands; rotations take the amount modulo the width."""
    return lambda a, b: pure(name, a, b)


def _on_words(operation: Binary) -> Binary:
    return lambda a, b: operation(a.trunc(32), b.trunc(32)).sext(64)


for _name, _funct7, _funct3, _meaning in (
    ("andn", "0100000", "111", lambda a, b: a & ~b),
    ("orn", "0100000", "110", lambda a, b: a | ~b),
    ("xnor", "0100000", "100", lambda a, b: ~(a ^ b)),
    ("min", "0000101", "100", _operation("smin")),
    ("minu", "0000101", "101", _operation("umin")),
    ("max", "0000101", "110", _operation("smax")),
    ("maxu", "0000101", "111", _operation("umax")),
    ("rol", "0110000", "001", _operation("rotl")),
    ("ror", "0110000", "101", _operation("rotr")),
):
    register("zbb", _name, _funct7, _funct3, _meaning, OP)

register("zbb", "rolw", "0110000", "001", _on_words(_operation("rotl")), OP_32)
register("zbb", "rorw", "0110000", "101", _on_words(_operation("rotr")), OP_32)
shift("zbb", "rori", "011000 shamt:6 rs1:5 101 rd:5", _operation("rotr"))
shift_word("zbb", "roriw", "0110000", "101", _operation("rotr"))


Unary = Callable[[Value], Value]


def _unary(name: str, funct12: str, funct3: str, operation: Unary, opcode: str = "0010011") -> None:
    @rv64.insn(f"{funct12} rs1:5 {funct3} rd:5 {opcode}", f"{name} {{rd:x}}, {{rs1:x}}")
    def meaning(cpu: Cpu, rs1: Value, rd: Value) -> None:
        cpu.x[rd] = operation(cpu.x[rs1])


def _or_combine(value: Value) -> Value:
    """All ones in each byte that is not zero: its low seven bits carry into the eighth."""
    low = 0x7F7F_7F7F_7F7F_7F7F
    return ((((value & low) + low) | value) & ~low).lsr(7) * 0xFF


def _count(name: str, funct12: str, table: str) -> None:
    _unary(name, funct12, "001", lambda a: pure(table, a))
    _unary(name + "w", funct12, "001", lambda a: pure(table, a.trunc(32)).zext(64), "0011011")


_count("clz", "011000000000", "clz")
_count("ctz", "011000000001", "ctz")
_count("cpop", "011000000010", "popcount")
_unary("sext.b", "011000000100", "001", lambda a: a.trunc(8).sext(64))
_unary("sext.h", "011000000101", "001", lambda a: a.trunc(16).sext(64))
_unary("zext.h", "000010000000", "100", lambda a: a.trunc(16).zext(64), "0111011")
_unary("orc.b", "001010000111", "101", _or_combine)
_unary("rev8", "011010111000", "101", lambda a: pure("bswap", a))
