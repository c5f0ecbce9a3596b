"""Advanced SIMD: shifts by a constant (C4.1.96.20), and by signed amounts of another register."""

from __future__ import annotations

from collections.abc import Callable

from ....ir import vector
from ....ir.value import Value, const
from ....ir.vector import lanes
from ...trace import Cpu, pin
from ..fp_access import need_fp
from ..state import a64
from .simd import ALIKE, SIZES, no_lone_double, read, write
from .simd_one import narrow

__all__ = ["LETTERS", "by", "rounded", "shift_row", "splat_amount"]

LETTERS = "bhsd"


def shift_row(size: int) -> str:
    """immh and immb: a one in front of as many bits as say how far; the manual writes one field."""
    return f"{'0' * (3 - size)}1 imm[{size + 2}:0]"


def splat_amount(amount: Value, lane: int, width: int) -> Value:
    return vector.splat(amount.zext(lane), width // lane)


def by(kind: str, a: Value, amount: Value, lane: int) -> Value:
    """A shift that may be by the whole width: to the right alone, where that is all signs or
    zeros."""
    if kind == "shl":
        return lanes("shl", lane, a, splat_amount(amount, lane, a.width))
    # Twice, by half of it and the rest: each is less than the width.
    half = amount.lsr(1)
    first = lanes(kind, lane, a, splat_amount(half, lane, a.width))
    return lanes(kind, lane, first, splat_amount(amount - half, lane, a.width))


def rounded(kind: str, a: Value, amount: Value, lane: int) -> Value:
    """The shifted value and the last bit that went out."""
    before = lanes(kind, lane, a, splat_amount(amount - 1, lane, a.width))
    last = lanes("and", lane, before, 1)
    return lanes("add", lane, lanes(kind, lane, before, 1), last)


def _right(name: str, u: str, opcode: str, kind: str, rounds: bool, adds: bool) -> None:
    for size in range(4):
        _right_of(size, name, u, opcode, (kind, rounds, adds))
    _right_scalar(name, u, opcode, (kind, rounds, adds))


def _shift_right(
    a: Value, old: Value, amount: Value, lane: int, how: tuple[str, bool, bool]
) -> Value:
    kind, rounds, adds = how
    moved = (rounded if rounds else by)(kind, a, amount, lane)
    return lanes("add", lane, old, moved) if adds else moved


def _right_of(size: int, name: str, u: str, opcode: str, how: tuple[str, bool, bool]) -> None:
    lane, letter = SIZES[size], LETTERS[size]

    @a64.insn(
        f"0 Q:1 {u} 011110 {shift_row(size)} {opcode} 1 Rn:5 Rd:5",
        f"{name} {{Rd:v}}.{{:q{letter}}}, {{Rn:v}}.{{:q{letter}}}, {{imm:right{lane}}}",
        where=(lambda Q, **_: Q == 1) if size == 3 else None,
    )
    def meaning(cpu: Cpu, Q: Value, imm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        wide = pin(Q)
        amount = const(lane, 8) - imm.zext(8)
        write(cpu, Rd, _shift_right(read(cpu, Rn, wide), read(cpu, Rd, wide), amount, lane, how))


def _right_scalar(name: str, u: str, opcode: str, how: tuple[str, bool, bool]) -> None:
    @a64.insn(
        f"01 {u} 111110 1 imm[5:0] {opcode} 1 Rn:5 Rd:5",
        f"{name} {{Rd:d}}, {{Rn:d}}, {{imm:right64}}",
    )
    def meaning(cpu: Cpu, imm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        amount = const(64, 8) - imm.zext(8)
        a, old = read(cpu, Rn, 0), read(cpu, Rd, 0)
        write(cpu, Rd, _shift_right(a, old, amount, 64, how))


for _name, _u, _opcode, _kind, _rounds, _adds in (
    ("sshr", "0", "00000", "asr", False, False),
    ("ushr", "1", "00000", "lsr", False, False),
    ("ssra", "0", "00010", "asr", False, True),
    ("usra", "1", "00010", "lsr", False, True),
    ("srshr", "0", "00100", "asr", True, False),
    ("urshr", "1", "00100", "lsr", True, False),
    ("srsra", "0", "00110", "asr", True, True),
    ("ursra", "1", "00110", "lsr", True, True),
):
    _right(_name, _u, _opcode, _kind, _rounds, _adds)


def _ones(lane: int, width: int) -> Value:
    return const((1 << width) - 1, width)


def _inserting(size: int) -> None:
    """SHL, SLI and SRI of one size."""
    lane, letter = SIZES[size], LETTERS[size]

    def describe(name: str, u: str, opcode: str, kind: str, inserts: bool) -> None:
        right = kind == "lsr"

        def move(a: Value, old: Value, imm: Value) -> Value:
            amount = const(lane, 8) - imm.zext(8) if right else imm.zext(8)
            moved = by(kind, a, amount, lane)
            if not inserts:
                return moved
            mask = by(kind, _ones(lane, a.width), amount, lane)
            return (old & ~mask) | moved

        @a64.insn(
            f"0 Q:1 {u} 011110 {shift_row(size)} {opcode} 1 Rn:5 Rd:5",
            f"{name} {{Rd:v}}.{{:q{letter}}}, {{Rn:v}}.{{:q{letter}}}, "
            f"{{imm:{f'right{lane}' if right else 'i'}}}",
            where=(lambda Q, **_: Q == 1) if size == 3 else None,
        )
        def meaning(cpu: Cpu, Q: Value, imm: Value, Rn: Value, Rd: Value) -> None:
            need_fp(cpu)
            wide = pin(Q)
            write(cpu, Rd, move(read(cpu, Rn, wide), read(cpu, Rd, wide), imm))

        if size == 3:

            @a64.insn(
                f"01 {u} 111110 1 imm[5:0] {opcode} 1 Rn:5 Rd:5",
                f"{name} {{Rd:d}}, {{Rn:d}}, {{imm:{'right64' if right else 'i'}}}",
            )
            def scalar(cpu: Cpu, imm: Value, Rn: Value, Rd: Value) -> None:
                need_fp(cpu)
                write(cpu, Rd, move(read(cpu, Rn, 0), read(cpu, Rd, 0), imm))

    describe("shl", "0", "01010", "shl", False)
    describe("sli", "1", "01010", "shl", True)
    describe("sri", "1", "01000", "lsr", True)


for _size in range(4):
    _inserting(_size)


def _long(size: int, name: str, u: str, extend: str, high: int) -> None:
    """SSHLL and USHLL: extended, then shifted."""
    lane = SIZES[size]

    @a64.insn(
        f"0 {high} {u} 011110 {shift_row(size)} 10100 1 Rn:5 Rd:5",
        f"{name} {{Rd:v}}.{('8h', '4s', '2d')[size]}, "
        f"{{Rn:v}}.{(('8b', '16b'), ('4h', '8h'), ('2s', '4s'))[size][high]}, {{imm:i}}",
    )
    def meaning(cpu: Cpu, imm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        half = cpu.v[Rn][127:64] if high else cpu.v[Rn].trunc(64)
        wide = lanes(extend, lane, half, to=2 * lane)
        cpu.v[Rd] = lanes("shl", 2 * lane, wide, splat_amount(imm, 2 * lane, 128))


def _narrow(size: int, name: str, opcode: str, rounds: bool, high: int) -> None:
    """SHRN and RSHRN."""
    lane = 2 * SIZES[size]

    @a64.insn(
        f"0 {high} 0 011110 {shift_row(size)} {opcode} 1 Rn:5 Rd:5",
        f"{name} {{Rd:v}}.{(('8b', '16b'), ('4h', '8h'), ('2s', '4s'))[size][high]}, "
        f"{{Rn:v}}.{('8h', '4s', '2d')[size]}, {{imm:right{lane // 2}}}",
    )
    def meaning(cpu: Cpu, imm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        amount = const(lane // 2, 8) - imm.zext(8)
        moved = (rounded if rounds else by)("lsr", cpu.v[Rn], amount, lane)
        half = lanes("trunc", lane, moved, to=lane // 2)
        narrow(cpu, Rd, high, half)


for _size in range(3):
    for _high, _two in ((0, ""), (1, "2")):
        _long(_size, f"sshll{_two}", "0", "sext", _high)
        _long(_size, f"ushll{_two}", "1", "zext", _high)
        _narrow(_size, f"shrn{_two}", "10000", False, _high)
        _narrow(_size, f"rshrn{_two}", "10001", True, _high)


# -- by a register: to the left, or to the right where the lowest byte is negative


def _variable(kind: str) -> Callable[[Value, Value, int], Value]:
    def meaning(a: Value, b: Value, lane: int) -> Value:
        ones = lane - 1
        far = lanes("asr", lane, lanes("shl", lane, b, lane - 8), lane - 8)  # the byte, signed
        left = lanes("shl", lane, a, lanes("and", lane, far, ones))
        left = left & lanes("ult", lane, far, lane)
        back = lanes("sub", lane, const(0, a.width), far)
        most = lanes("umin", lane, back, ones)
        right = lanes(kind, lane, a, most)
        if kind == "lsr":
            right = right & lanes("ult", lane, back, lane)
        return vector.choose(lanes("slt", lane, far, 0), right, left)

    return meaning


def _by_register(name: str, u: str, kind: str) -> None:
    move = _variable(kind)

    @a64.insn(
        f"0 Q:1 {u} 01110 size:2 1 Rm:5 01000 1 Rn:5 Rd:5",
        f"{name} {ALIKE}",
        where=no_lone_double,
    )
    def meaning(cpu: Cpu, Q: Value, size: Value, Rm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        wide = pin(Q)
        write(cpu, Rd, move(read(cpu, Rn, wide), read(cpu, Rm, wide), SIZES[pin(size)]))

    @a64.insn(f"01 {u} 11110 11 1 Rm:5 01000 1 Rn:5 Rd:5", f"{name} {{Rd:d}}, {{Rn:d}}, {{Rm:d}}")
    def scalar(cpu: Cpu, Rm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        write(cpu, Rd, move(read(cpu, Rn, 0), read(cpu, Rm, 0), 64))


_by_register("sshl", "0", "asr")
_by_register("ushl", "1", "lsr")
