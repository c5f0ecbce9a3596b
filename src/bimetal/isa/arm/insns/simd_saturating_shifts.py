"""Advanced SIMD: shifts that saturate or round (C4.1.96.9, 10, 17, 20).

A shift by a register goes left, or right in lanes whose lowest byte of the amount is negative. If Q
is 0, the upper halves of the operands are taken as zero, and these operations leave zero unchanged,
so one form serves both.
"""

from __future__ import annotations

from collections.abc import Callable

from ....ir import vector
from ....ir.value import Value, const
from ....ir.vector import lanes
from ...trace import Cpu, pin
from ..fp_access import need_fp
from ..state import a64
from .simd import ALIKE, SIZES, no_lone_double, note_saturation, read_masked, write
from .simd_one import narrow, saturate_narrow
from .simd_shifts import LETTERS, by, rounded, shift_row, splat_amount

SIGNED, UNSIGNED, TO_UNSIGNED = "signed", "unsigned", "to unsigned"
SCALARS = ("b", "h", "s_", "d")


def _left(
    a: Value, amount: Value, lane: int, kind: str, inside: Value | None = None
) -> tuple[Value, Value]:
    """Shifted by amounts below the width, and the lanes that hold it all. Of others than those
    that are ``inside`` only zero does."""
    moved = lanes("shl", lane, a, amount)
    back = lanes("asr" if kind == SIGNED else "lsr", lane, moved, amount)
    fits, signs = lanes("eq", lane, back, a), lanes("asr", lane, a, lane - 1)
    if inside is not None:
        fits = fits & inside | lanes("eq", lane, a, 0)
    most = (1 << (lane - 1)) - 1 if kind == SIGNED else (1 << lane) - 1
    ends = const(vector.join([most] * (a.width // lane), lane), a.width)
    if kind == SIGNED:
        ends = ends ^ signs
    if kind == TO_UNSIGNED:
        fits, ends = fits & ~signs, ends & ~signs
    return vector.choose(fits, moved, ends), fits


# -- by a register


def _right(kind: str, rounds: bool, a: Value, amount: Value, lane: int) -> Value:
    """To the right by amounts from 1 on."""
    shift = "asr" if kind == SIGNED else "lsr"
    if not rounds:
        moved = lanes(shift, lane, a, lanes("umin", lane, amount, lane - 1))
        return moved if kind == SIGNED else moved & lanes("ult", lane, amount, lane)
    less = lanes("sub", lane, amount, 1)
    before = lanes(shift, lane, a, lanes("umin", lane, less, lane - 1))
    moved = lanes("add", lane, lanes(shift, lane, before, 1), lanes("and", lane, before, 1))
    return moved if kind == SIGNED else moved & lanes("ult", lane, less, lane)


def _by_amounts(kind: str, saturates: bool, rounds: bool) -> Callable[..., Value]:
    def meaning(cpu: Cpu, a: Value, b: Value, lane: int) -> Value:
        far = lanes("asr", lane, lanes("shl", lane, b, lane - 8), lane - 8)  # the byte, signed
        backwards = lanes("slt", lane, far, 0)
        away = lanes("sub", lane, const(0, a.width), far)
        right = _right(kind, rounds, a, away, lane)
        near, inside = lanes("and", lane, far, lane - 1), lanes("ult", lane, far, lane)
        if saturates:
            left, fits = _left(a, near, lane, kind, inside)
            note_saturation(cpu, (~fits & ~backwards) != 0)
        else:
            left = lanes("shl", lane, a, near) & inside
        return vector.choose(backwards, right, left)

    return meaning


def _by_register(name: str, u: str, opcode: str, saturates: bool, rounds: bool) -> None:
    move = _by_amounts(UNSIGNED if u == "1" else SIGNED, saturates, rounds)

    @a64.insn(
        f"0 Q:1 {u} 01110 size:2 1 Rm:5 {opcode} 1 Rn:5 Rd:5",
        f"{name} {ALIKE}",
        where=no_lone_double,
    )
    def meaning(cpu: Cpu, Q: Value, size: Value, Rm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        a, b = read_masked(cpu, Rn, Q), read_masked(cpu, Rm, Q)
        cpu.v[Rd] = move(cpu, a, b, SIZES[pin(size)])

    @a64.insn(
        f"01 {u} 11110 size:2 1 Rm:5 {opcode} 1 Rn:5 Rd:5",
        f"{name} {{:scalar_Rd}}, {{:scalar_Rn}}, {{:scalar_Rm}}",
        where=None if saturates else lambda size, **_: size == 3,
    )
    def scalar(cpu: Cpu, size: Value, Rm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        lane = SIZES[pin(size)]
        write(cpu, Rd, move(cpu, cpu.v[Rn].trunc(lane), cpu.v[Rm].trunc(lane), lane))


for _u, _s in (("0", "s"), ("1", "u")):
    _by_register(f"{_s}qshl", _u, "01001", True, False)
    _by_register(f"{_s}rshl", _u, "01010", False, True)
    _by_register(f"{_s}qrshl", _u, "01011", True, True)

# -- to the left by a constant


def _by_constant(size: int, name: str, u: str, opcode: str, kind: str) -> None:
    lane, q = SIZES[size], f"{{:q{LETTERS[size]}}}"

    def move(cpu: Cpu, a: Value, imm: Value) -> Value:
        result, fits = _left(a, splat_amount(imm, lane, a.width), lane, kind)
        note_saturation(cpu, ~fits != 0)
        return result

    @a64.insn(
        f"0 Q:1 {u} 011110 {shift_row(size)} {opcode} 1 Rn:5 Rd:5",
        f"{name} {{Rd:v}}.{q}, {{Rn:v}}.{q}, {{imm:i}}",
        where=(lambda Q, **_: Q == 1) if size == 3 else None,
    )
    def meaning(cpu: Cpu, Q: Value, imm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        cpu.v[Rd] = move(cpu, read_masked(cpu, Rn, Q), imm)

    register = SCALARS[size]

    @a64.insn(
        f"01 {u} 111110 {shift_row(size)} {opcode} 1 Rn:5 Rd:5",
        f"{name} {{Rd:{register}}}, {{Rn:{register}}}, {{imm:i}}",
    )
    def scalar(cpu: Cpu, imm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        write(cpu, Rd, move(cpu, cpu.v[Rn].trunc(lane), imm))


for _size in range(4):
    _by_constant(_size, "sqshl", "0", "01110", SIGNED)
    _by_constant(_size, "uqshl", "1", "01110", UNSIGNED)
    _by_constant(_size, "sqshlu", "1", "01100", TO_UNSIGNED)

# -- to the right by a constant, and to half the width


def _narrowed(kind: str, rounds: bool) -> Callable[..., Value]:
    def move(cpu: Cpu, a: Value, imm: Value, lane: int) -> Value:
        signed = kind != UNSIGNED
        amount = const(lane, 8) - imm.zext(8)
        moved = (rounded if rounds else by)("asr" if signed else "lsr", a, amount, 2 * lane)
        return saturate_narrow(cpu, moved, 2 * lane, signed, kind == SIGNED)

    return move


def _narrow(size: int, name: str, u: str, opcode: str, move: Callable[..., Value]) -> None:
    lane = SIZES[size]
    for high, two in ((0, ""), (1, "2")):
        _narrow_half((size, high), f"{name}{two}", u, opcode, move)

    @a64.insn(
        f"01 {u} 111110 {shift_row(size)} {opcode} 1 Rn:5 Rd:5",
        f"{name} {{Rd:{SCALARS[size]}}}, {{Rn:{SCALARS[size + 1]}}}, {{imm:right{lane}}}",
    )
    def scalar(cpu: Cpu, imm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        write(cpu, Rd, move(cpu, cpu.v[Rn].trunc(2 * lane), imm, lane))


def _narrow_half(
    shape: tuple[int, int], name: str, u: str, opcode: str, move: Callable[..., Value]
) -> None:
    size, high = shape
    lane = SIZES[size]

    @a64.insn(
        f"0 {high} {u} 011110 {shift_row(size)} {opcode} 1 Rn:5 Rd:5",
        f"{name} {{Rd:v}}.{(('8b', '16b'), ('4h', '8h'), ('2s', '4s'))[size][high]}, "
        f"{{Rn:v}}.{('8h', '4s', '2d')[size]}, {{imm:right{lane}}}",
    )
    def meaning(cpu: Cpu, imm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        narrow(cpu, Rd, high, move(cpu, cpu.v[Rn], imm, lane))


for _size in range(3):
    for _name, _u, _opcode, _kind, _rounds in (
        ("sqshrn", "0", "10010", SIGNED, False),
        ("sqrshrn", "0", "10011", SIGNED, True),
        ("uqshrn", "1", "10010", UNSIGNED, False),
        ("uqrshrn", "1", "10011", UNSIGNED, True),
        ("sqshrun", "1", "10000", TO_UNSIGNED, False),
        ("sqrshrun", "1", "10001", TO_UNSIGNED, True),
    ):
        _narrow(_size, _name, _u, _opcode, _narrowed(_kind, _rounds))
