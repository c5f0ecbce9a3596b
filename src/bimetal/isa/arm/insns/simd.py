"""Advanced SIMD on integers (C4.1.96): three registers of a kind, and logic.

A 64-bit form (Q is 0) works on the low half and clears the upper one; `pin` makes a form for each
arrangement.
"""

from __future__ import annotations

from collections.abc import Callable

from ....ir import vector
from ....ir.value import Value, const
from ....ir.vector import lanes
from ...trace import Cpu, pin
from ..fp_access import need_fp
from ..state import a64

__all__ = [
    "ALIKE", "SIZES", "by_test", "no_lone_double", "note_saturation", "plainly", "read",
    "read_masked", "saturated", "swapped", "write",
]  # fmt: skip

Operation = Callable[[Value, Value, int], Value]
"""Of two vectors and the width of their lanes."""

SIZES = (8, 16, 32, 64)

ALIKE = "{Rd:v}.{:arrangement}, {Rn:v}.{:arrangement}, {Rm:v}.{:arrangement}"
"""The operands of three registers of the same arrangement."""


def no_lone_double(size: Value | int, Q: Value | int, **_: Value | int) -> Value | bool:
    """Every arrangement but 1D, which is no vector."""
    return (size != 3) | (Q == 1)


def read(cpu: Cpu, number: Value, wide: int) -> Value:
    """A register, or its low half."""
    value: Value = cpu.v[number]
    return value if wide else value.trunc(64)


def read_masked(cpu: Cpu, number: Value, Q: Value) -> Value:
    """A register, with zero for its upper half where Q is 0."""
    value: Value = cpu.v[number]
    return value & (Q.sext(128) | (1 << 64) - 1)


def write(cpu: Cpu, number: Value, value: Value) -> None:
    """Write a register; what a half does not cover is cleared."""
    cpu.v[number] = value.zext(128)


def note_saturation(cpu: Cpu, happened: Value) -> None:
    """Set FPSR.QC if a bit says so."""
    cpu.fpsr_qc = cpu.fpsr_qc | (happened.zext(32) << 27)


def saturated(cpu: Cpu, result: Value, plain: Value) -> Value:
    """A saturating result; FPSR.QC is set where it is not the ``plain`` one."""
    note_saturation(cpu, result != plain)
    return result


def _three(name: str, u: str, opcode: str, operation: Operation, sizes: tuple[int, ...]) -> None:
    """Three registers of the same arrangement."""

    def where(size: Value | int, Q: Value | int, **_: Value | int) -> Value | bool:
        allowed: Value | bool = False
        for number, bits in enumerate(SIZES):
            if bits in sizes:
                fits = size == number
                if bits == 64:
                    fits = fits & (Q == 1)
                allowed = fits | allowed
        return allowed

    @a64.insn(
        f"0 Q:1 {u} 01110 size:2 1 Rm:5 {opcode} 1 Rn:5 Rd:5",
        f"{name} {ALIKE}",
        where=where,
    )
    def meaning(cpu: Cpu, Q: Value, size: Value, Rm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        wide, lane = pin(Q), SIZES[pin(size)]
        write(cpu, Rd, operation(read(cpu, Rn, wide), read(cpu, Rm, wide), lane))


def plainly(name: str) -> Operation:
    """An operation of the table."""
    return lambda a, b, lane: lanes(name, lane, a, b)


def swapped(name: str) -> Operation:
    """An operation of the table with its operands in the other order."""
    return lambda a, b, lane: lanes(name, lane, b, a)


def by_test(a: Value, b: Value, lane: int) -> Value:
    """CMTST: ones where the two have a bit in common."""
    return ~lanes("eq", lane, a & b, 0)


def _halving(extend: str, operation: str, rounds: int = 0) -> Operation:
    """Half the sum or the difference, without loss: in lanes of twice the width."""

    def meaning(a: Value, b: Value, lane: int) -> Value:
        wide = (lanes(extend, lane, value, to=2 * lane) for value in (a, b))
        total = lanes(operation, 2 * lane, *wide)
        if rounds:
            total = lanes("add", 2 * lane, total, 1)
        return lanes("trunc", 2 * lane, lanes("lsr", 2 * lane, total, 1), to=lane)

    return meaning


def _distance(signed: bool) -> Operation:
    """The absolute difference."""
    least, most = ("smin", "smax") if signed else ("umin", "umax")
    return lambda a, b, lane: lanes("sub", lane, lanes(most, lane, a, b), lanes(least, lane, a, b))


def _pairwise(operation: str) -> Operation:
    """Neighbours of both registers, one after the other, combined."""

    def meaning(a: Value, b: Value, lane: int) -> Value:
        count = 2 * a.width // lane
        even = vector.shuffle(lane, range(0, count, 2), a, b)
        odd = vector.shuffle(lane, range(1, count, 2), a, b)
        return lanes(operation, lane, even, odd)

    return meaning


ALL, SMALL = SIZES, SIZES[:3]
for _name, _u, _opcode, _operation, _sizes in (
    ("add", "0", "10000", plainly("add"), ALL),
    ("sub", "1", "10000", plainly("sub"), ALL),
    ("mul", "0", "10011", plainly("mul"), SMALL),
    ("cmgt", "0", "00110", swapped("slt"), ALL),
    ("cmhi", "1", "00110", swapped("ult"), ALL),
    ("cmge", "0", "00111", swapped("sle"), ALL),
    ("cmhs", "1", "00111", swapped("ule"), ALL),
    ("cmtst", "0", "10001", by_test, ALL),
    ("cmeq", "1", "10001", plainly("eq"), ALL),
    ("smax", "0", "01100", plainly("smax"), SMALL),
    ("umax", "1", "01100", plainly("umax"), SMALL),
    ("smin", "0", "01101", plainly("smin"), SMALL),
    ("umin", "1", "01101", plainly("umin"), SMALL),
    ("shadd", "0", "00000", _halving("sext", "add"), SMALL),
    ("uhadd", "1", "00000", _halving("zext", "add"), SMALL),
    ("srhadd", "0", "00010", _halving("sext", "add", 1), SMALL),
    ("urhadd", "1", "00010", _halving("zext", "add", 1), SMALL),
    ("shsub", "0", "00100", _halving("sext", "sub"), SMALL),
    ("uhsub", "1", "00100", _halving("zext", "sub"), SMALL),
    ("sabd", "0", "01110", _distance(True), SMALL),
    ("uabd", "1", "01110", _distance(False), SMALL),
    ("addp", "0", "10111", _pairwise("add"), ALL),
    ("smaxp", "0", "10100", _pairwise("smax"), SMALL),
    ("umaxp", "1", "10100", _pairwise("umax"), SMALL),
    ("sminp", "0", "10101", _pairwise("smin"), SMALL),
    ("uminp", "1", "10101", _pairwise("umin"), SMALL),
):
    _three(_name, _u, _opcode, _operation, _sizes)


def _accumulating(name: str, u: str, opcode: str, operation: Operation) -> None:
    """Those that add to, or take from, the destination."""

    @a64.insn(
        f"0 Q:1 {u} 01110 size:2 1 Rm:5 {opcode} 1 Rn:5 Rd:5",
        f"{name} {ALIKE}",
        where=lambda size, **_: size != 3,
    )
    def meaning(cpu: Cpu, Q: Value, size: Value, Rm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        wide, lane = pin(Q), SIZES[pin(size)]
        change = operation(read(cpu, Rn, wide), read(cpu, Rm, wide), lane)
        how = "sub" if name == "mls" else "add"
        write(cpu, Rd, lanes(how, lane, read(cpu, Rd, wide), change))


for _name, _u, _opcode, _operation in (
    ("mla", "0", "10010", plainly("mul")),
    ("mls", "1", "10010", plainly("mul")),
    ("saba", "0", "01111", _distance(True)),
    ("uaba", "1", "01111", _distance(False)),
):
    _accumulating(_name, _u, _opcode, _operation)


def _saturating(name: str, u: str, opcode: str, operation: str, plain: str) -> None:
    @a64.insn(
        f"0 Q:1 {u} 01110 size:2 1 Rm:5 {opcode} 1 Rn:5 Rd:5",
        f"{name} {ALIKE}",
        where=no_lone_double,
    )
    def meaning(cpu: Cpu, Q: Value, size: Value, Rm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        wide, lane = pin(Q), SIZES[pin(size)]
        a, b = read(cpu, Rn, wide), read(cpu, Rm, wide)
        write(cpu, Rd, saturated(cpu, lanes(operation, lane, a, b), lanes(plain, lane, a, b)))


for _name, _u, _opcode, _saturates, _without in (
    ("sqadd", "0", "00001", "sadd_sat", "add"),
    ("uqadd", "1", "00001", "uadd_sat", "add"),
    ("sqsub", "0", "00101", "ssub_sat", "sub"),
    ("uqsub", "1", "00101", "usub_sat", "sub"),
):
    _saturating(_name, _u, _opcode, _saturates, _without)

# -- logic


def _logic(name: str, u: str, size: str, operation: Callable[[Value, Value, Value], Value]) -> None:
    """Of the operands and what the destination holds."""

    @a64.insn(
        f"0 Q:1 {u} 01110 {size} 1 Rm:5 00011 1 Rn:5 Rd:5",
        f"{name} {{Rd:v}}.{{:bytes}}, {{Rn:v}}.{{:bytes}}, {{Rm:v}}.{{:bytes}}",
    )
    def meaning(cpu: Cpu, Q: Value, Rm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        wide = pin(Q)
        old = read(cpu, Rd, wide) if u == "1" and size != "00" else const(0, 128 if wide else 64)
        write(cpu, Rd, operation(read(cpu, Rn, wide), read(cpu, Rm, wide), old))


for _name, _u, _size, _bits in (
    ("and", "0", "00", lambda a, b, d: a & b),
    ("bic", "0", "01", lambda a, b, d: a & ~b),
    ("orr", "0", "10", lambda a, b, d: a | b),
    ("orn", "0", "11", lambda a, b, d: a | ~b),
    ("eor", "1", "00", lambda a, b, d: a ^ b),
    ("bsl", "1", "01", lambda a, b, d: vector.choose(d, a, b)),
    ("bit", "1", "10", lambda a, b, d: vector.choose(b, a, d)),
    ("bif", "1", "11", lambda a, b, d: vector.choose(b, d, a)),
):
    _logic(_name, _u, _size, _bits)
