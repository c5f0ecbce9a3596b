"""Dot products of bytes (FEAT_DotProd): four products and what was there, in each lane."""

from __future__ import annotations

from ....ir.compound import compound
from ....ir.value import Value
from ....ir.vector import element, lanes, splat
from ...trace import Cpu
from ..fp_access import need_fp
from ..state import a64
from .simd import read_masked

__all__ = ["SIGNED", "UNSIGNED", "by_element", "by_vector", "dot"]

SIGNED, UNSIGNED = "asr", "lsr"
"""How bytes are extended: by the shift that does it."""


def _added_in_pairs(a: Value, b: Value) -> Value:
    """Products of signed halfwords, the two of each word added."""

    def halves(value: Value) -> tuple[Value, Value]:
        low = lanes("asr", 32, lanes("shl", 32, value, 16), 16)
        return low, lanes("asr", 32, value, 16)

    low, high = (lanes("mul", 32, *pair) for pair in zip(halves(a), halves(b), strict=True))
    return lanes("add", 32, low, high)


def dot(a: Value, b: Value, kinds: tuple[str, str]) -> Value:
    """The sum of the four products in each lane; ``kinds`` are those of both operands' bytes."""

    def halves(value: Value, kind: str) -> tuple[Value, Value]:
        return lanes(kind, 16, lanes("shl", 16, value, 8), 8), lanes(kind, 16, value, 8)

    even, odd = (
        compound("multiply_add_pairs", _added_in_pairs, *pair)
        for pair in zip(halves(a, kinds[0]), halves(b, kinds[1]), strict=True)
    )
    return lanes("add", 32, even, odd)


def by_vector(name: str, u: str, opcode: str, kinds: tuple[str, str], extension: str) -> None:
    """Each lane of four bytes with its counterpart."""

    @a64.insn(
        f"0 Q:1 {u} 01110 10 0 Rm:5 1 {opcode} 1 Rn:5 Rd:5",
        f"{name} {{Rd:v}}.{{:qs}}, {{Rn:v}}.{{:bytes}}, {{Rm:v}}.{{:bytes}}",
        extension=extension,
    )
    def meaning(cpu: Cpu, Q: Value, Rm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        products = dot(read_masked(cpu, Rn, Q), read_masked(cpu, Rm, Q), kinds)
        cpu.v[Rd] = lanes("add", 32, read_masked(cpu, Rd, Q), products)


def by_element(name: str, u: str, code: str, kinds: tuple[str, str], extension: str) -> None:
    """Each lane of four bytes with the same one; ``code`` is size and opcode."""
    size, opcode = code.split()

    @a64.insn(
        f"0 Q:1 {u} 01111 {size} index[0] Rm:5 {opcode} index[1] 0 Rn:5 Rd:5",
        f"{name} {{Rd:v}}.{{:qs}}, {{Rn:v}}.{{:bytes}}, {{Rm:v}}.4b[{{index:u}}]",
        extension=extension,
    )
    def meaning(cpu: Cpu, Q: Value, index: Value, Rm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        same = splat(element(cpu.v[Rm], 32, index), 4)
        products = dot(read_masked(cpu, Rn, Q), same, kinds)
        cpu.v[Rd] = lanes("add", 32, read_masked(cpu, Rd, Q), products)


for _name, _u, _kind in (("sdot", "0", SIGNED), ("udot", "1", UNSIGNED)):
    by_vector(_name, _u, "0010", (_kind, _kind), "dotprod")
    by_element(_name, _u, "10 1110", (_kind, _kind), "dotprod")
