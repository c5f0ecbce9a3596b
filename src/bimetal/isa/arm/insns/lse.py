"""Atomic memory operations (FEAT_LSE; C4.1.94.7 and 11): always sequentially consistent."""

from __future__ import annotations

from ....ir.value import Value
from ...trace import Cpu
from ..operands import base_register
from ..state import a64
from .exclusives import SIZES

ORDERS = (("0", "0", ""), ("0", "1", "l"), ("1", "0", "a"), ("1", "1", "al"))
"""Acquire and release, and how a name says them."""


def _update(size: tuple[str, int, str, str], order: tuple[str, str, str], name: str, row: str,
            operation: str) -> None:  # fmt: skip
    code, bits, r, suffix = size
    acquire, release, letters = order

    @a64.insn(
        f"{code} 111 0 00 {acquire} {release} 1 Rs:5 {row} 00 Rn:5 Rt:5",
        f"{name}{letters}{suffix} {{Rs:{r}}}, {{Rt:{r}}}, [{{Rn:xsp}}]",
    )
    def meaning(cpu: Cpu, Rs: Value, Rn: Value, Rt: Value) -> None:
        operand = cpu.x[Rs].trunc(bits)
        if name == "ldclr":
            operand = ~operand
        cpu.x[Rt] = cpu.amo(operation, base_register(cpu, Rn), operand).zext(64)


def _compare_and_swap(size: tuple[str, int, str, str], order: tuple[str, str, str]) -> None:
    code, bits, r, suffix = size
    acquire, release, letters = order

    @a64.insn(
        f"{code} 001000 1 {acquire} 1 Rs:5 {release} 11111 Rn:5 Rt:5",
        f"cas{letters}{suffix} {{Rs:{r}}}, {{Rt:{r}}}, [{{Rn:xsp}}]",
    )
    def meaning(cpu: Cpu, Rs: Value, Rn: Value, Rt: Value) -> None:
        expected, new = cpu.x[Rs].trunc(bits), cpu.x[Rt].trunc(bits)
        cpu.x[Rs] = cpu.compare_and_swap(base_register(cpu, Rn), expected, new).zext(64)


def _compare_and_swap_pair(sz: str, bits: int, r: str, order: tuple[str, str, str]) -> None:
    acquire, release, letters = order

    @a64.insn(
        f"0 {sz} 001000 0 {acquire} 1 Rs[4:1] 0 {release} 11111 Rn:5 Rt[4:1] 0",
        f"casp{letters} {{Rs:{r}}}, {{Rs:{r}_next}}, {{Rt:{r}}}, {{Rt:{r}_next}}, [{{Rn:xsp}}]",
    )
    def meaning(cpu: Cpu, Rs: Value, Rn: Value, Rt: Value) -> None:
        size = 2 * bits

        def pair(number: Value) -> Value:
            high, low = (cpu.x[n].trunc(bits).zext(size) for n in (number | 1, number))
            both: Value = high << bits | low
            return both

        old = cpu.compare_and_swap(base_register(cpu, Rn), pair(Rs), pair(Rt))
        cpu.x[Rs] = old.trunc(bits).zext(64)
        cpu.x[Rs | 1] = old[size - 1 : bits].zext(64)


for _order in ORDERS:
    for _size in SIZES:
        for _name, _row, _operation in (
            ("ldadd", "0 000", "add"), ("ldclr", "0 001", "and"), ("ldeor", "0 010", "xor"),
            ("ldset", "0 011", "or"), ("ldsmax", "0 100", "max"), ("ldsmin", "0 101", "min"),
            ("ldumax", "0 110", "umax"), ("ldumin", "0 111", "umin"), ("swp", "1 000", "xchg"),
        ):  # fmt: skip
            _update(_size, _order, _name, _row, _operation)
        _compare_and_swap(_size, _order)
    _compare_and_swap_pair("0", 32, "w", _order)
    _compare_and_swap_pair("1", 64, "x", _order)
