"""Advanced SIMD on single integers (C4.1.96.9, 10, 8), and sums of signed and unsigned numbers."""

from __future__ import annotations

from collections.abc import Callable

from ....ir import vector
from ....ir.value import Value, const
from ....ir.vector import lanes
from ...trace import Cpu, pin
from ..fp_access import need_fp
from ..state import a64
from .simd import SIZES, by_test, no_lone_double, plainly, read_masked, saturated, swapped, write
from .simd_one import MAGNITUDES, saturate_narrow, saturated_magnitude

# -- three registers


def _three(name: str, u: str, opcode: str, operation: Callable[..., Value]) -> None:
    """Of 64 bits."""

    @a64.insn(
        f"01 {u} 11110 11 1 Rm:5 {opcode} 1 Rn:5 Rd:5", f"{name} {{Rd:d}}, {{Rn:d}}, {{Rm:d}}"
    )
    def meaning(cpu: Cpu, Rm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        write(cpu, Rd, operation(cpu.v[Rn].trunc(64), cpu.v[Rm].trunc(64), 64))


for _name, _u, _opcode, _operation in (
    ("add", "0", "10000", plainly("add")),
    ("sub", "1", "10000", plainly("sub")),
    ("cmgt", "0", "00110", swapped("slt")),
    ("cmhi", "1", "00110", swapped("ult")),
    ("cmge", "0", "00111", swapped("sle")),
    ("cmhs", "1", "00111", swapped("ule")),
    ("cmtst", "0", "10001", by_test),
    ("cmeq", "1", "10001", plainly("eq")),
):
    _three(_name, _u, _opcode, _operation)


def _saturating(name: str, u: str, opcode: str, operation: str, plain: str) -> None:
    @a64.insn(
        f"01 {u} 11110 size:2 1 Rm:5 {opcode} 1 Rn:5 Rd:5",
        f"{name} {{:scalar_Rd}}, {{:scalar_Rn}}, {{:scalar_Rm}}",
    )
    def meaning(cpu: Cpu, size: Value, Rm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        lane = SIZES[pin(size)]
        a, b = cpu.v[Rn].trunc(lane), cpu.v[Rm].trunc(lane)
        write(cpu, Rd, saturated(cpu, lanes(operation, lane, a, b), lanes(plain, lane, a, b)))


for _u, _s in (("0", "s"), ("1", "u")):
    _saturating(f"{_s}qadd", _u, "00001", f"{_s}add_sat", "add")
    _saturating(f"{_s}qsub", _u, "00101", f"{_s}sub_sat", "sub")

# -- two registers


def _magnitude(name: str, u: str) -> None:
    @a64.insn(
        f"01 {u} 11110 size:2 10000 00111 10 Rn:5 Rd:5",
        f"{name} {{:scalar_Rd}}, {{:scalar_Rn}}",
    )
    def meaning(cpu: Cpu, size: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        lane = SIZES[pin(size)]
        write(cpu, Rd, saturated_magnitude(cpu, MAGNITUDES[name], cpu.v[Rn].trunc(lane), lane))


_magnitude("sqabs", "0")
_magnitude("sqneg", "1")


def _narrowing(name: str, u: str, opcode: str, signed_from: bool, signed_to: bool) -> None:
    @a64.insn(
        f"01 {u} 11110 size:2 10000 {opcode} 10 Rn:5 Rd:5",
        f"{name} {{:scalar_Rd}}, {{:long_Rn}}",
        where=lambda size, **_: size != 3,
    )
    def meaning(cpu: Cpu, size: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        lane = 2 * SIZES[pin(size)]
        a = cpu.v[Rn].trunc(lane)
        write(cpu, Rd, saturate_narrow(cpu, a, lane, signed_from, signed_to))


_narrowing("sqxtun", "1", "10010", True, False)
_narrowing("sqxtn", "0", "10100", True, True)
_narrowing("uqxtn", "1", "10100", False, False)

# -- sums of numbers of which one is signed


def _onto_signed(old: Value, a: Value, lane: int) -> Value:
    """SUQADD: unsigned numbers onto signed ones, which are counted from the least one."""
    least = const(vector.join([1 << (lane - 1)] * (a.width // lane), lane), a.width)
    return lanes("uadd_sat", lane, old ^ least, a) ^ least


def _onto_unsigned(old: Value, a: Value, lane: int) -> Value:
    """USQADD: signed numbers onto unsigned ones; what is positive is added, the rest taken off."""
    negative = lanes("slt", lane, a, 0)
    less = lanes("sub", lane, const(0, a.width), a) & negative
    return lanes("usub_sat", lane, lanes("uadd_sat", lane, old, a & ~negative), less)


def _mixed(name: str, u: str, operation: Callable[[Value, Value, int], Value]) -> None:
    @a64.insn(
        f"0 Q:1 {u} 01110 size:2 10000 00011 10 Rn:5 Rd:5",
        f"{name} {{Rd:v}}.{{:arrangement}}, {{Rn:v}}.{{:arrangement}}",
        where=no_lone_double,
    )
    def meaning(cpu: Cpu, Q: Value, size: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        lane = SIZES[pin(size)]
        old, a = read_masked(cpu, Rd, Q), read_masked(cpu, Rn, Q)
        cpu.v[Rd] = saturated(cpu, operation(old, a, lane), lanes("add", lane, old, a))

    @a64.insn(
        f"01 {u} 11110 size:2 10000 00011 10 Rn:5 Rd:5",
        f"{name} {{:scalar_Rd}}, {{:scalar_Rn}}",
    )
    def scalar(cpu: Cpu, size: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        lane = SIZES[pin(size)]
        old, a = cpu.v[Rd].trunc(lane), cpu.v[Rn].trunc(lane)
        write(cpu, Rd, saturated(cpu, operation(old, a, lane), lanes("add", lane, old, a)))


_mixed("suqadd", "0", _onto_signed)
_mixed("usqadd", "1", _onto_unsigned)
