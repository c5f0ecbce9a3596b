"""Matrices of bytes (FEAT_I8MM), and dot products of signed bytes with unsigned ones."""

from __future__ import annotations

from ....ir.value import Value
from ....ir.vector import lanes, shuffle
from ...trace import Cpu
from ..fp_access import need_fp
from ..state import a64
from .dotprod import SIGNED, UNSIGNED, by_element, by_vector, dot

by_vector("usdot", "0", "0011", (UNSIGNED, SIGNED), "i8mm")
by_element("usdot", "0", "10 1111", (UNSIGNED, SIGNED), "i8mm")
by_element("sudot", "0", "00 1111", (SIGNED, UNSIGNED), "i8mm")


def _matrix(name: str, u: str, opcode: str, kinds: tuple[str, str]) -> None:
    """Two rows of eight bytes times two columns of eight, onto two by two words."""

    @a64.insn(
        f"0 1 {u} 01110 10 0 Rm:5 1 {opcode} 1 Rn:5 Rd:5",
        f"{name} {{Rd:v}}.4s, {{Rn:v}}.16b, {{Rm:v}}.16b",
    )
    def meaning(cpu: Cpu, Rm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        rows, columns = cpu.v[Rn], cpu.v[Rm]
        halves = [dot(shuffle(64, (row, row), rows), columns, kinds) for row in (0, 1)]
        total = lanes("add", 32, *(shuffle(32, range(n, 8, 2), *halves) for n in (0, 1)))
        cpu.v[Rd] = lanes("add", 32, cpu.v[Rd], total)


_matrix("smmla", "0", "0100", (SIGNED, SIGNED))
_matrix("ummla", "1", "0100", (UNSIGNED, UNSIGNED))
_matrix("usmmla", "0", "0101", (UNSIGNED, SIGNED))
