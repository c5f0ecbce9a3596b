"""Products of halves added to singles (FEAT_FHM)."""

from __future__ import annotations

from ....ir import fp
from ....ir.value import Value
from ....ir.vector import choose, element, lanes, splat
from ...trace import Cpu, slowly
from ..fp import HALF, SINGLE, Numbers, flushed, write
from ..fp_ops import fused, negated
from ..state import a64


def widened(cpu: Cpu, halves: Numbers, value: Value) -> Value:
    """Halves as singles. Signalling NaNs stay signalling: the operation that follows raises the
    flag."""
    (value,) = flushed(cpu, halves, value)
    nans = halves.nans(value)
    result = cpu.local(fp.convert(value & ~nans, 32, 16))
    with slowly(nans != 0):
        wide = lanes("sext", 16, value, to=32)  # the sign, and all of the exponent
        moved = lanes("shl", 32, wide, SINGLE.precision - HALF.precision)
        signs = Numbers(SINGLE, wide.width).each(SINGLE.sign)
        kept = (moved & ~signs) | (wide & signs) | Numbers(SINGLE, wide.width).each(SINGLE.infinity)
        result.set(choose(lanes("sext", 16, nans, to=32), kept, result.value))
    return result.value


def _accumulated(cpu: Cpu, name: str, q: str, Rd: Value, factors: tuple[Value, Value]) -> None:
    """FMLAL and FMLSL: each half of the factors with its counterpart."""
    halves = Numbers(HALF, 64 if q == "1" else 32)
    numbers = Numbers(SINGLE, 2 * halves.width)
    a, b = (widened(cpu, halves, factor) for factor in factors)
    a = negated(numbers, a) if name.startswith("fmlsl") else a
    write(cpu, Rd, fused(cpu, numbers, numbers.read(cpu, Rd), a, b))


def _half(cpu: Cpu, q: str, register: Value, upper: bool) -> Value:
    """The lower or the upper half of a register of 64 or 128 bits."""
    width = 64 if q == "1" else 32
    value: Value = cpu.v[register][2 * width - 1 : width] if upper else cpu.v[register].trunc(width)
    return value


def _describe(name: str, q: str, codes: tuple[str, str], element_code: str) -> None:
    (u, opcode), s, upper = codes, name.startswith("fmlsl"), name.endswith("2")
    single, half = (("2s", "2h"), ("4s", "4h"))[int(q)]

    @a64.insn(
        f"0 {q} {u} 01110 {int(s)}0 1 Rm:5 {opcode} 1 Rn:5 Rd:5",
        f"{name} {{Rd:v}}.{single}, {{Rn:v}}.{half}, {{Rm:v}}.{half}",
    )
    def by_vector(cpu: Cpu, Rm: Value, Rn: Value, Rd: Value) -> None:
        factors = _half(cpu, q, Rn, upper), _half(cpu, q, Rm, upper)
        _accumulated(cpu, name, q, Rd, factors)

    @a64.insn(
        f"0 {q} {u} 01111 10 index[1:0] Rm:4 {element_code} index[2] 0 Rn:5 Rd:5",
        f"{name} {{Rd:v}}.{single}, {{Rn:v}}.{half}, {{Rm:v}}.h[{{index:u}}]",
    )
    def by_element(cpu: Cpu, index: Value, Rm: Value, Rn: Value, Rd: Value) -> None:
        same = splat(element(cpu.v[Rm], 16, index.zext(32)), 4 if q == "1" else 2)
        _accumulated(cpu, name, q, Rd, (_half(cpu, q, Rn, upper), same))


for _q in "01":
    _describe("fmlal", _q, ("0", "11101"), "0000")
    _describe("fmlsl", _q, ("0", "11101"), "0100")
    _describe("fmlal2", _q, ("1", "11001"), "1000")
    _describe("fmlsl2", _q, ("1", "11001"), "1100")
