"""Advanced SIMD: saturating products (C4.1.96.9, 14, 17), which are doubled, as fractions are.

SQDMULH and its like keep the upper half of a product; SQDMULL and its like keep all of it. The
chapter of products by an element, `simd_element`, has the same operations.
"""

from __future__ import annotations

from collections.abc import Callable

from ....ir import vector
from ....ir.value import Value, const
from ....ir.vector import lanes
from ...trace import Cpu, pin
from ..fp_access import need_fp
from ..state import a64
from .simd import ALIKE, SIZES, read, saturated, write
from .simd_one import saturate_narrow

__all__ = ["ADDING", "HALVES", "LONG", "Product", "products"]

Product = Callable[[Cpu, Value, Value, Value, int], Value]
"""Of what the destination holds and two vectors with lanes of a width."""


def products(extend: str, a: Value, b: Value, lane: int) -> Value:
    """Products in lanes of twice the width."""
    return lanes("mul", 2 * lane, *(lanes(extend, lane, value, to=2 * lane) for value in (a, b)))


def _half(rounds: bool) -> Product:
    """The upper half of twice the product. Only the most negative number times itself has none;
    what comes out for it comes out for nothing else."""

    def meaning(cpu: Cpu, old: Value, a: Value, b: Value, lane: int) -> Value:
        wide = 2 * lane
        upper = lanes("lsr", wide, products("sext", a, b, lane), lane - 2 if rounds else lane - 1)
        if rounds:
            upper = lanes("lsr", wide, lanes("add", wide, upper, 1), 1)
        plain = lanes("trunc", wide, upper, to=lane)
        least = const(vector.join([1 << (lane - 1)] * (a.width // lane), lane), a.width)
        return saturated(cpu, plain ^ lanes("eq", lane, plain, least), plain)

    return meaning


def _adding(operation: str) -> Product:
    """SQRDMLAH and SQRDMLSH: the rounded upper half of the sum with the doubled product."""

    def meaning(cpu: Cpu, old: Value, a: Value, b: Value, lane: int) -> Value:
        wide = 2 * lane
        upper = lanes("shl", wide, lanes("sext", lane, old, to=wide), lane - 1)
        total = lanes(operation, wide, upper, products("sext", a, b, lane))
        total = lanes("add", wide, total, 1 << (lane - 2))
        return saturate_narrow(cpu, lanes("asr", wide, total, lane - 1), wide, True, True)

    return meaning


def _long(operation: str) -> Product:
    """SQDMULL, SQDMLAL and SQDMLSL: the whole of twice the product, and sums with it."""

    def meaning(cpu: Cpu, old: Value, a: Value, b: Value, lane: int) -> Value:
        wide, single = 2 * lane, products("sext", a, b, lane)
        double = lanes("sadd_sat", wide, single, single)
        twice = saturated(cpu, double, lanes("add", wide, single, single))
        if not operation:
            return twice
        total = lanes(f"s{operation}_sat", wide, old, twice)
        return saturated(cpu, total, lanes(operation, wide, old, twice))

    return meaning


HALVES: dict[str, Product] = {"sqdmulh": _half(False), "sqrdmulh": _half(True)}
ADDING: dict[str, Product] = {"sqrdmlah": _adding("add"), "sqrdmlsh": _adding("sub")}
LONG: dict[str, Product] = {"sqdmull": _long(""), "sqdmlal": _long("add"), "sqdmlsl": _long("sub")}
FRACTIONS = HALVES | ADDING


def _of_halves(size: Value, **_: Value) -> Value:
    return (size == 1) | (size == 2)


def _same_width(name: str, u: str, row: str) -> None:
    """Vectors and scalars; ``row`` is what stands around Rm."""
    product = FRACTIONS[name]
    left, right = row.split(" Rm ")
    extension = "rdm" if name in ADDING else ""

    @a64.insn(
        f"0 Q:1 {u} 01110 size:2 {left} Rm:5 {right} 1 Rn:5 Rd:5",
        f"{name} {ALIKE}",
        where=_of_halves,
        extension=extension,
    )
    def meaning(cpu: Cpu, Q: Value, size: Value, Rm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        wide = pin(Q)
        old, a, b = (read(cpu, number, wide) for number in (Rd, Rn, Rm))
        write(cpu, Rd, product(cpu, old, a, b, SIZES[pin(size)]))

    @a64.insn(
        f"01 {u} 11110 size:2 {left} Rm:5 {right} 1 Rn:5 Rd:5",
        f"{name} {{:scalar_Rd}}, {{:scalar_Rn}}, {{:scalar_Rm}}",
        where=_of_halves,
        extension=extension,
    )
    def scalar(cpu: Cpu, size: Value, Rm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        lane = SIZES[pin(size)]
        old, a, b = (cpu.v[number].trunc(lane) for number in (Rd, Rn, Rm))
        write(cpu, Rd, product(cpu, old, a, b, lane))


_same_width("sqdmulh", "0", "1 Rm 10110")
_same_width("sqrdmulh", "1", "1 Rm 10110")
_same_width("sqrdmlah", "1", "0 Rm 10000")
_same_width("sqrdmlsh", "1", "0 Rm 10001")


def _twice_the_width(name: str, opcode: str) -> None:
    for high, two in ((0, ""), (1, "2")):
        _long_half(f"{name}{two}", opcode, high, LONG[name])

    @a64.insn(
        f"01 0 11110 size:2 1 Rm:5 {opcode} 00 Rn:5 Rd:5",
        f"{name} {{:long_Rd}}, {{:scalar_Rn}}, {{:scalar_Rm}}",
        where=_of_halves,
    )
    def scalar(cpu: Cpu, size: Value, Rm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        lane = SIZES[pin(size)]
        old = cpu.v[Rd].trunc(2 * lane)
        a, b = cpu.v[Rn].trunc(lane), cpu.v[Rm].trunc(lane)
        write(cpu, Rd, LONG[name](cpu, old, a, b, lane))


def _long_half(name: str, opcode: str, high: int, product: Product) -> None:
    small = f"{{:narrow{high}}}"

    @a64.insn(
        f"0 {high} 0 01110 size:2 1 Rm:5 {opcode} 00 Rn:5 Rd:5",
        f"{name} {{Rd:v}}.{{:wide}}, {{Rn:v}}.{small}, {{Rm:v}}.{small}",
        where=_of_halves,
    )
    def meaning(cpu: Cpu, size: Value, Rm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        a, b = (vector.element(cpu.v[number], 64, high) for number in (Rn, Rm))
        cpu.v[Rd] = product(cpu, cpu.v[Rd], a, b, SIZES[pin(size)])


_twice_the_width("sqdmlal", "1001")
_twice_the_width("sqdmlsl", "1011")
_twice_the_width("sqdmull", "1101")
