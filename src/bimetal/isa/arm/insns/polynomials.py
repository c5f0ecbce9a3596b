"""Advanced SIMD: products of polynomials over {0, 1} (C4.1.96.14, 17), where sums have no carry."""

from __future__ import annotations

from ....ir import vector
from ....ir.compound import compound
from ....ir.value import Value, const
from ....ir.vector import lanes
from ...trace import Cpu, pin
from ..fp_access import need_fp
from ..state import a64
from .simd import read, write


def _products(a: Value, b: Value, lane: int, bits: int) -> Value:
    """The products of lanes, of which ``b`` has so many bits."""
    total = const(0, a.width)
    for bit in range(bits):
        there = lanes("lsr", lane, lanes("shl", lane, b, lane - 1 - bit), lane - 1)
        mask = lanes("sub", lane, const(0, a.width), there)
        total = total ^ lanes("shl", lane, a, bit) & mask
    return total


def _product_of_64(a: Value, b: Value) -> Value:
    return _products(a.zext(128), b.zext(128), 128, 64)


@a64.insn(
    "0 Q:1 1 01110 00 1 Rm:5 10011 1 Rn:5 Rd:5",
    "pmul {Rd:v}.{:bytes}, {Rn:v}.{:bytes}, {Rm:v}.{:bytes}",
)
def pmul(cpu: Cpu, Q: Value, Rm: Value, Rn: Value, Rd: Value) -> None:
    need_fp(cpu)
    wide = pin(Q)
    write(cpu, Rd, _products(read(cpu, Rn, wide), read(cpu, Rm, wide), 8, 8))


def _long(high: int) -> None:
    two, small = "2" if high else "", "16b" if high else "8b"

    @a64.insn(
        f"0 {high} 0 01110 00 1 Rm:5 1110 00 Rn:5 Rd:5",
        f"pmull{two} {{Rd:v}}.8h, {{Rn:v}}.{small}, {{Rm:v}}.{small}",
    )
    def of_bytes(cpu: Cpu, Rm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        a, b = (vector.element(cpu.v[number], 64, high) for number in (Rn, Rm))
        a, b = (lanes("zext", 8, value, to=16) for value in (a, b))
        cpu.v[Rd] = _products(a, b, 16, 8)

    one = "2d" if high else "1d"

    @a64.insn(
        f"0 {high} 0 01110 11 1 Rm:5 1110 00 Rn:5 Rd:5",
        f"pmull{two} {{Rd:v}}.1q, {{Rn:v}}.{one}, {{Rm:v}}.{one}",
        extension="pmull",
    )
    def of_doublewords(cpu: Cpu, Rm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        a, b = (vector.element(cpu.v[number], 64, high) for number in (Rn, Rm))
        cpu.v[Rd] = compound("clmul", _product_of_64, a, b)


_long(0)
_long(1)
