"""Advanced SIMD: results of twice the width (C4.1.96.14), and half of it."""

from __future__ import annotations

from collections.abc import Callable

from ....ir.value import Value
from ....ir.vector import lanes
from ...trace import Cpu, pin
from ..fp_access import need_fp
from ..state import a64
from .simd import SIZES
from .simd_one import narrow

LONG, WIDE, NARROW = "long", "wide", "narrow"


def _half(cpu: Cpu, number: Value, high: int) -> Value:
    whole: Value = cpu.v[number]
    return whole[127:64] if high else whole.trunc(64)


def _describe(name: str, u: str, opcode: str, shape: str, act: Callable[..., Value]) -> None:
    for high, two in ((0, ""), (1, "2")):
        _one(f"{name}{two}", u, opcode, (shape, high), act)


def _one(name: str, u: str, opcode: str, shape: tuple[str, int], act: Callable[..., Value]) -> None:
    """``act(extend, old, a, b, lane)`` works in lanes of twice the width, ``lane``."""
    kind, high = shape
    extend = "zext" if u == "1" else "sext"
    small = f"{{:narrow{high}}}"
    texts = {
        LONG: f"{{Rd:v}}.{{:wide}}, {{Rn:v}}.{small}, {{Rm:v}}.{small}",
        WIDE: f"{{Rd:v}}.{{:wide}}, {{Rn:v}}.{{:wide}}, {{Rm:v}}.{small}",
        NARROW: f"{{Rd:v}}.{small}, {{Rn:v}}.{{:wide}}, {{Rm:v}}.{{:wide}}",
    }

    @a64.insn(
        f"0 {high} {u} 01110 size:2 1 Rm:5 {opcode} 00 Rn:5 Rd:5",
        f"{name} {texts[kind]}",
        where=lambda size, **_: size != 3,
    )
    def meaning(cpu: Cpu, size: Value, Rm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        lane = 2 * SIZES[pin(size)]

        def operand(number: Value, whole: bool) -> Value:
            if whole:
                value: Value = cpu.v[number]
                return value
            return lanes(extend, lane // 2, _half(cpu, number, high), to=lane)

        a = operand(Rn, kind != LONG)
        b = operand(Rm, kind == NARROW)
        result = act(cpu.v[Rd], a, b, lane)
        if kind != NARROW:
            cpu.v[Rd] = result
            return
        half = lanes("trunc", lane, lanes("lsr", lane, result, lane // 2), to=lane // 2)
        narrow(cpu, Rd, high, half)


def _plain(operation: str) -> Callable[..., Value]:
    return lambda old, a, b, lane: lanes(operation, lane, a, b)


def _distance(old: Value, a: Value, b: Value, lane: int) -> Value:
    return lanes("abs", lane, lanes("sub", lane, a, b))


def _onto(operation: str, act: Callable[..., Value]) -> Callable[..., Value]:
    return lambda old, a, b, lane: lanes(operation, lane, old, act(old, a, b, lane))


def _rounds(operation: str) -> Callable[..., Value]:
    def act(old: Value, a: Value, b: Value, lane: int) -> Value:
        return lanes("add", lane, lanes(operation, lane, a, b), 1 << (lane // 2 - 1))

    return act


for _u, _s in (("0", "s"), ("1", "u")):
    _describe(f"{_s}addl", _u, "0000", LONG, _plain("add"))
    _describe(f"{_s}addw", _u, "0001", WIDE, _plain("add"))
    _describe(f"{_s}subl", _u, "0010", LONG, _plain("sub"))
    _describe(f"{_s}subw", _u, "0011", WIDE, _plain("sub"))
    _describe(f"{_s}abal", _u, "0101", LONG, _onto("add", _distance))
    _describe(f"{_s}abdl", _u, "0111", LONG, _distance)
    _describe(f"{_s}mlal", _u, "1000", LONG, _onto("add", _plain("mul")))
    _describe(f"{_s}mlsl", _u, "1010", LONG, _onto("sub", _plain("mul")))
    _describe(f"{_s}mull", _u, "1100", LONG, _plain("mul"))


def _shift_long(high: int) -> None:
    """SHLL: shifted by the width."""

    @a64.insn(
        f"0 {high} 1 01110 size:2 10000 10011 10 Rn:5 Rd:5",
        f"shll{'2' if high else ''} {{Rd:v}}.{{:wide}}, {{Rn:v}}.{{:narrow{high}}}, {{:lane_bits}}",
        where=lambda size, **_: size != 3,
    )
    def meaning(cpu: Cpu, size: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        lane = SIZES[pin(size)]
        wide = lanes("zext", lane, _half(cpu, Rn, high), to=2 * lane)
        cpu.v[Rd] = lanes("shl", 2 * lane, wide, lane)


_shift_long(0)
_shift_long(1)
_describe("addhn", "0", "0100", NARROW, _plain("add"))
_describe("raddhn", "1", "0100", NARROW, _rounds("add"))
_describe("subhn", "0", "0110", NARROW, _plain("sub"))
_describe("rsubhn", "1", "0110", NARROW, _rounds("sub"))
