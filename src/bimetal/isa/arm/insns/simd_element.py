"""Advanced SIMD on integers: products by an element of a register (C4.1.96.16, 12)."""

from __future__ import annotations

from ....ir import vector
from ....ir.value import Value
from ....ir.vector import lanes
from ...trace import Cpu, pin
from ..fp_access import need_fp
from ..state import a64
from .simd import SIZES, read, write
from .simd_products import ADDING, FRACTIONS, LONG, Product, products

PLACES = {1: ("01 index[1:0] Rm:4", "index[2]"), 2: ("10 index[0] Rm:5", "index[1]")}
"""By size: what stands in front of the opcode, and behind it. Halfwords are of V0 to V15 only."""

WHOLE, HALF = {1: "8h", 2: "4s"}, {1: "4h", 2: "2s"}


def _row(head: str, size: int, opcode: str) -> str:
    front, behind = PLACES[size]
    return f"{head} {front} {opcode} {behind} 0 Rn:5 Rd:5"


def _element(cpu: Cpu, Rm: Value, index: Value, lane: int) -> Value:
    return vector.element(cpu.v[Rm.zext(5)], lane, index)


def _text(size: int) -> str:
    return f"{{Rm:v}}.{'bhsd'[size]}[{{index:u}}]"


def _same(size: int, name: str, u: str, opcode: str, product: Product) -> None:
    """Results as wide as the operands."""
    lane, q = SIZES[size], f"{{:q{'bhsd'[size]}}}"

    @a64.insn(
        _row(f"0 Q:1 {u} 01111", size, opcode),
        f"{name} {{Rd:v}}.{q}, {{Rn:v}}.{q}, {_text(size)}",
        extension="rdm" if name in ADDING else "",
    )
    def meaning(cpu: Cpu, Q: Value, index: Value, Rm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        wide = pin(Q)
        a = read(cpu, Rn, wide)
        b = vector.splat(_element(cpu, Rm, index, lane), a.width // lane)
        write(cpu, Rd, product(cpu, read(cpu, Rd, wide), a, b, lane))


def _same_scalar(size: int, name: str, u: str, opcode: str, product: Product) -> None:
    lane, letter = SIZES[size], ("b", "h", "s_")[size]

    @a64.insn(
        _row(f"01 {u} 11111", size, opcode),
        f"{name} {{Rd:{letter}}}, {{Rn:{letter}}}, {_text(size)}",
        extension="rdm" if name in ADDING else "",
    )
    def meaning(cpu: Cpu, index: Value, Rm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        old, a = cpu.v[Rd].trunc(lane), cpu.v[Rn].trunc(lane)
        write(cpu, Rd, product(cpu, old, a, _element(cpu, Rm, index, lane), lane))


def _long(size: int, name: str, u: str, opcode: str, product: Product) -> None:
    """Results of twice the width, of the lower or the upper half."""
    for high, two in ((0, ""), (1, "2")):
        small = (HALF, WHOLE)[high][size]
        text = f"{{Rd:v}}.{WHOLE.get(size + 1, '2d')}, {{Rn:v}}.{small}, {_text(size)}"
        _long_half((size, high), _row(f"0 {high} {u} 01111", size, opcode),
                   f"{name}{two} {text}", product)  # fmt: skip


def _long_half(shape: tuple[int, int], row: str, text: str, product: Product) -> None:
    size, high = shape
    lane = SIZES[size]

    @a64.insn(row, text)
    def meaning(cpu: Cpu, index: Value, Rm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        a = vector.element(cpu.v[Rn], 64, high)
        b = vector.splat(_element(cpu, Rm, index, lane), 64 // lane)
        cpu.v[Rd] = product(cpu, cpu.v[Rd], a, b, lane)


def _long_scalar(size: int, name: str, opcode: str, product: Product) -> None:
    lane = SIZES[size]

    @a64.insn(
        _row("01 0 11111", size, opcode),
        f"{name} {{Rd:{('h', 's_', 'd')[size]}}}, {{Rn:{('b', 'h', 's_')[size]}}}, {_text(size)}",
    )
    def meaning(cpu: Cpu, index: Value, Rm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        old, a = cpu.v[Rd].trunc(2 * lane), cpu.v[Rn].trunc(lane)
        write(cpu, Rd, product(cpu, old, a, _element(cpu, Rm, index, lane), lane))


def _plain(operation: str) -> Product:
    """A product, or a sum with one."""

    def meaning(cpu: Cpu, old: Value, a: Value, b: Value, lane: int) -> Value:
        product = lanes("mul", lane, a, b)
        return lanes(operation, lane, old, product) if operation else product

    return meaning


def _wide(extend: str, operation: str) -> Product:
    def meaning(cpu: Cpu, old: Value, a: Value, b: Value, lane: int) -> Value:
        product = products(extend, a, b, lane)
        return lanes(operation, 2 * lane, old, product) if operation else product

    return meaning


for _size in PLACES:
    _same(_size, "mul", "0", "1000", _plain(""))
    _same(_size, "mla", "1", "0000", _plain("add"))
    _same(_size, "mls", "1", "0100", _plain("sub"))
    for _u, _s, _extend in (("0", "s", "sext"), ("1", "u", "zext")):
        _long(_size, f"{_s}mull", _u, "1010", _wide(_extend, ""))
        _long(_size, f"{_s}mlal", _u, "0010", _wide(_extend, "add"))
        _long(_size, f"{_s}mlsl", _u, "0110", _wide(_extend, "sub"))
    for _name, _u, _opcode in (
        ("sqdmulh", "0", "1100"), ("sqrdmulh", "0", "1101"),
        ("sqrdmlah", "1", "1101"), ("sqrdmlsh", "1", "1111"),
    ):  # fmt: skip
        _same(_size, _name, _u, _opcode, FRACTIONS[_name])
        _same_scalar(_size, _name, _u, _opcode, FRACTIONS[_name])
    for _name, _opcode in (("sqdmull", "1011"), ("sqdmlal", "0011"), ("sqdmlsl", "0111")):
        _long(_size, _name, "0", _opcode, LONG[_name])
        _long_scalar(_size, _name, _opcode, LONG[_name])
