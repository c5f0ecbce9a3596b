"""Advanced SIMD on integers (C4.1.96): one register and a result, and all lanes into one."""

from __future__ import annotations

from collections.abc import Callable

from ....ir import vector
from ....ir.value import Value, const, pure
from ....ir.vector import lanes
from ...trace import Cpu, pin
from ..fp_access import need_fp
from ..state import a64
from .simd import SIZES, note_saturation, read, saturated, write

__all__ = ["MAGNITUDES", "narrow", "saturate_narrow", "saturated_magnitude"]

Operation = Callable[[Value, int], Value]
"""Of a vector and the width of its lanes."""

ALL, SMALL = SIZES, SIZES[:3]


def _allowed(sizes: tuple[int, ...]) -> Callable[..., Value | bool]:
    def where(size: Value | int, Q: Value | int, **_: Value | int) -> Value | bool:
        allowed: Value | bool = False
        for number, bits in enumerate(SIZES):
            if bits in sizes:
                fits = (size == number) & (Q == 1) if bits == 64 else size == number
                allowed = fits | allowed
        return allowed

    return where


def _misc(name: str, u: str, opcode: str, operation: Operation, sizes: tuple[int, ...],
          more: str = "") -> None:  # fmt: skip
    """Two registers of the same arrangement; ``more`` is the end of the text."""

    @a64.insn(
        f"0 Q:1 {u} 01110 size:2 10000 {opcode} 10 Rn:5 Rd:5",
        f"{name} {{Rd:v}}.{{:arrangement}}, {{Rn:v}}.{{:arrangement}}{more}",
        where=_allowed(sizes),
    )
    def meaning(cpu: Cpu, Q: Value, size: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        write(cpu, Rd, operation(read(cpu, Rn, pin(Q)), SIZES[pin(size)]))


def _reversed(block: int) -> Operation:
    """The lanes of each ``block`` bits in the other order."""

    def meaning(a: Value, lane: int) -> Value:
        if lane >= block:
            return a  # reserved
        each = block // lane
        count = a.width // lane
        return vector.shuffle(lane, [n - n % each + each - 1 - n % each for n in range(count)], a)

    return meaning


def _leading_signs(a: Value, lane: int) -> Value:
    same = lanes("xor", lane, a, lanes("asr", lane, a, 1))
    return lanes("clz", lane, lanes("or", lane, lanes("shl", lane, same, 1), 1))


def _negated(a: Value, lane: int) -> Value:
    return lanes("sub", lane, const(0, a.width), a)


def _with_zero(operation: str, swapped: bool = False) -> Operation:
    def meaning(a: Value, lane: int) -> Value:
        zero = const(0, a.width)
        return lanes(operation, lane, zero, a) if swapped else lanes(operation, lane, a, zero)

    return meaning


for _name, _u, _opcode, _operation, _sizes, _more in (
    ("rev64", "0", "00000", _reversed(64), SMALL, ""),
    ("rev32", "1", "00000", _reversed(32), (8, 16), ""),
    ("rev16", "0", "00001", _reversed(16), (8,), ""),
    ("cls", "0", "00100", _leading_signs, SMALL, ""),
    ("clz", "1", "00100", lambda a, lane: lanes("clz", lane, a), SMALL, ""),
    ("cnt", "0", "00101", lambda a, lane: lanes("popcount", lane, a), (8,), ""),
    ("abs", "0", "01011", lambda a, lane: lanes("abs", lane, a), ALL, ""),
    ("neg", "1", "01011", _negated, ALL, ""),
    ("cmgt", "0", "01000", _with_zero("slt", swapped=True), ALL, ", #0"),
    ("cmge", "1", "01000", _with_zero("sle", swapped=True), ALL, ", #0"),
    ("cmeq", "0", "01001", _with_zero("eq"), ALL, ", #0"),
    ("cmle", "1", "01001", _with_zero("sle"), ALL, ", #0"),
    ("cmlt", "0", "01010", _with_zero("slt"), ALL, ", #0"),
):
    _misc(_name, _u, _opcode, _operation, _sizes, _more)


def _bytewise(name: str, size: str, operation: Callable[[Value], Value]) -> None:
    @a64.insn(
        f"0 Q:1 1 01110 {size} 10000 00101 10 Rn:5 Rd:5",
        f"{name} {{Rd:v}}.{{:bytes}}, {{Rn:v}}.{{:bytes}}",
    )
    def meaning(cpu: Cpu, Q: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        write(cpu, Rd, operation(read(cpu, Rn, pin(Q))))


_bytewise("not", "00", lambda a: ~a)
_bytewise("rbit", "01", lambda a: lanes("bitreverse", 8, a))


MAGNITUDES: dict[str, Operation] = {
    "sqabs": lambda a, lane: lanes("abs", lane, a),
    "sqneg": _negated,
}


def saturated_magnitude(cpu: Cpu, plain: Operation, a: Value, lane: int) -> Value:
    """One of `MAGNITUDES`: the most negative number has no opposite."""
    result = plain(a, lane)
    least = const(vector.join([1 << (lane - 1)] * (a.width // lane), lane), a.width)
    # What comes out as the most negative number was it before, and becomes one less.
    return saturated(cpu, result ^ lanes("eq", lane, a, least), result)


def _saturating(name: str, u: str) -> None:
    @a64.insn(
        f"0 Q:1 {u} 01110 size:2 10000 00111 10 Rn:5 Rd:5",
        f"{name} {{Rd:v}}.{{:arrangement}}, {{Rn:v}}.{{:arrangement}}",
        where=_allowed(ALL),
    )
    def meaning(cpu: Cpu, Q: Value, size: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        a, lane = read(cpu, Rn, pin(Q)), SIZES[pin(size)]
        write(cpu, Rd, saturated_magnitude(cpu, MAGNITUDES[name], a, lane))


_saturating("sqabs", "0")
_saturating("sqneg", "1")

# -- pairs of neighbours, added to twice the width


def _pairwise_long(name: str, u: str, opcode: str, adds: bool) -> None:
    extend = "zext" if u == "1" else "sext"

    @a64.insn(
        f"0 Q:1 {u} 01110 size:2 10000 {opcode} 10 Rn:5 Rd:5",
        f"{name} {{Rd:v}}.{{:doubled}}, {{Rn:v}}.{{:arrangement}}",
        where=_allowed(SMALL),
    )
    def meaning(cpu: Cpu, Q: Value, size: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        wide, lane = pin(Q), SIZES[pin(size)]
        a = read(cpu, Rn, wide)
        count = a.width // lane
        even, odd = (
            lanes(extend, lane, vector.shuffle(lane, range(n, count, 2), a), to=2 * lane)
            for n in (0, 1)
        )
        total = lanes("add", 2 * lane, even, odd)
        write(cpu, Rd, lanes("add", 2 * lane, read(cpu, Rd, wide), total) if adds else total)


for _name, _u, _opcode, _adds in (
    ("saddlp", "0", "00010", False), ("uaddlp", "1", "00010", False),
    ("sadalp", "0", "00110", True), ("uadalp", "1", "00110", True),
):  # fmt: skip
    _pairwise_long(_name, _u, _opcode, _adds)

# -- narrowing: to the low half, or to the high one with the low one kept


def narrow(cpu: Cpu, Rd: Value, high: int, half: Value) -> None:
    """Put 64 bits into one half of a register."""
    if high:
        cpu.v[Rd] = half.zext(128) << 64 | cpu.v[Rd].trunc(64).zext(128)
    else:
        write(cpu, Rd, half)


def limits(lane: int, to: int, signed_from: bool, signed_to: bool) -> tuple[int, int]:
    """The range of the narrow type, in lanes of the wide one."""
    low, high = (-(1 << (to - 1)), (1 << (to - 1)) - 1) if signed_to else (0, (1 << to) - 1)
    return (low & (1 << lane) - 1 if signed_from else 0), high


def saturate_narrow(cpu: Cpu, a: Value, lane: int, signed_from: bool, signed_to: bool) -> Value:
    """Lanes of half the width that stop at the ends of their range."""
    low, high = limits(lane, lane // 2, signed_from, signed_to)
    kind = "s" if signed_from else "u"
    held = lanes(f"{kind}min", lane, a, high)
    held = lanes(f"{kind}max", lane, held, low) if signed_from else held
    result = lanes("trunc", lane, held, to=lane // 2)
    note_saturation(cpu, held != a)
    return result


def _narrowing(
    name: str, u: str, opcode: str, operation: Callable[[Cpu, Value, int], Value]
) -> None:
    for high, suffix in ((0, ""), (1, "2")):
        _narrowing_half(f"{name}{suffix}", u, opcode, operation, high)


def _narrowing_half(name: str, u: str, opcode: str, operation: Callable[[Cpu, Value, int], Value],
                    high: int) -> None:  # fmt: skip
    @a64.insn(
        f"0 {high} {u} 01110 size:2 10000 {opcode} 10 Rn:5 Rd:5",
        f"{name} {{Rd:v}}.{{:narrow{high}}}, {{Rn:v}}.{{:wide}}",
        where=lambda size, **_: size != 3,
    )
    def meaning(cpu: Cpu, size: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        lane = 2 * SIZES[pin(size)]
        narrow(cpu, Rd, high, operation(cpu, cpu.v[Rn], lane))


_narrowing("xtn", "0", "10010", lambda cpu, a, lane: lanes("trunc", lane, a, to=lane // 2))
_narrowing("sqxtun", "1", "10010", lambda cpu, a, lane: saturate_narrow(cpu, a, lane, True, False))
_narrowing("sqxtn", "0", "10100", lambda cpu, a, lane: saturate_narrow(cpu, a, lane, True, True))
_narrowing("uqxtn", "1", "10100", lambda cpu, a, lane: saturate_narrow(cpu, a, lane, False, False))


# -- across all lanes


def _across(name: str, u: str, opcode: str, operation: str, extend: str = "") -> None:
    @a64.insn(
        f"0 Q:1 {u} 01110 size:2 11000 {opcode} 10 Rn:5 Rd:5",
        f"{name} {{:{'long' if extend else 'scalar'}_Rd}}, {{Rn:v}}.{{:arrangement}}",
        where=lambda size, Q, **_: (size == 0) | (size == 1) | ((size == 2) & (Q == 1)),
    )
    def meaning(cpu: Cpu, Q: Value, size: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        a, lane = read(cpu, Rn, pin(Q)), SIZES[pin(size)]
        if extend:
            a, lane = lanes(extend, lane, a, to=2 * lane), 2 * lane
        write(cpu, Rd, vector.reduce(operation, lane, a))


for _name, _u, _opcode, _reduces, _extends in (
    ("addv", "0", "11011", "add", ""),
    ("saddlv", "0", "00011", "add", "sext"),
    ("uaddlv", "1", "00011", "add", "zext"),
    ("smaxv", "0", "01010", "smax", ""),
    ("umaxv", "1", "01010", "umax", ""),
    ("sminv", "0", "11010", "smin", ""),
    ("uminv", "1", "11010", "umin", ""),
):
    _across(_name, _u, _opcode, _reduces, _extends)


@a64.insn("01 0 11110 11 11000 11011 10 Rn:5 Rd:5", "addp {Rd:d}, {Rn:v}.2d")
def addp_scalar(cpu: Cpu, Rn: Value, Rd: Value) -> None:
    need_fp(cpu)
    a = cpu.v[Rn]
    write(cpu, Rd, a.trunc(64) + a[127:64])


# -- scalars of 64 bits


def _scalar(name: str, u: str, opcode: str, operation: Operation, more: str = "") -> None:
    @a64.insn(f"01 {u} 11110 11 10000 {opcode} 10 Rn:5 Rd:5", f"{name} {{Rd:d}}, {{Rn:d}}{more}")
    def meaning(cpu: Cpu, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        write(cpu, Rd, operation(cpu.v[Rn].trunc(64), 64))


for _name, _u, _opcode, _operation, _more in (
    ("abs", "0", "01011", lambda a, lane: pure("abs", a), ""),
    ("neg", "1", "01011", lambda a, lane: -a, ""),
    ("cmgt", "0", "01000", _with_zero("slt", swapped=True), ", #0"),
    ("cmge", "1", "01000", _with_zero("sle", swapped=True), ", #0"),
    ("cmeq", "0", "01001", _with_zero("eq"), ", #0"),
    ("cmle", "1", "01001", _with_zero("sle"), ", #0"),
    ("cmlt", "0", "01010", _with_zero("slt"), ", #0"),
):
    _scalar(_name, _u, _opcode, _operation, _more)
