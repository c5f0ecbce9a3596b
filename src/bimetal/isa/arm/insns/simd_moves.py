"""Advanced SIMD: moving lanes (C4.1.96): copies, permutations, tables, immediates."""

from __future__ import annotations

from ....ir import vector
from ....ir.value import Value, const, select
from ....ir.vector import lanes
from ...trace import Cpu, pin
from ..fp_access import need_fp
from ..state import a64
from .simd import ALIKE, SIZES, no_lone_double, read, write

Index = tuple[int, int]


def _lane_of(imm5: Value, size: int) -> Value:
    """The number of a lane, of which imm5 has a one and zeros below."""
    return imm5.lsr(size + 1)


def _sized(size: int) -> str:
    """The row of imm5 for a size: the number of the lane, a one, zeros."""
    return f"imm5[4:{size + 1}] 1{'0' * size}"


def _element(cpu: Cpu, number: Value, imm5: Value, size: int) -> Value:
    lane = 8 << size
    return vector.element(cpu.v[number], lane, _lane_of(imm5, size).trunc(max(1, 4 - size)))


def _copies(size: int) -> None:
    """DUP of lanes of one size."""
    lane, letter = 8 << size, "bhsd"[size]
    r = "x" if size == 3 else "w"

    @a64.insn(
        f"0 Q:1 0 01110000 {_sized(size)} 0 0000 1 Rn:5 Rd:5",
        f"dup {{Rd:v}}.{{:q{letter}}}, {{Rn:v}}.{letter}[{{:lane{size}}}]",
        where=(lambda Q, **_: Q == 1) if size == 3 else None,
    )
    def dup_element(cpu: Cpu, Q: Value, imm5: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        one = _element(cpu, Rn, imm5, size)
        write(cpu, Rd, vector.splat(one, (128 if pin(Q) else 64) // lane))

    @a64.insn(
        f"01 0 11110000 {_sized(size)} 0 0000 1 Rn:5 Rd:5",
        f"dup {{Rd:{'s_' if letter == 's' else letter}}}, {{Rn:v}}.{letter}[{{:lane{size}}}]",
    )
    def dup_scalar(cpu: Cpu, imm5: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        write(cpu, Rd, _element(cpu, Rn, imm5, size))

    @a64.insn(
        f"0 Q:1 0 01110000 {_sized(size)} 0 0001 1 Rn:5 Rd:5",
        f"dup {{Rd:v}}.{{:q{letter}}}, {{Rn:{r}}}{{:any_lane}}",
        where=(lambda Q, **_: Q == 1) if size == 3 else None,
    )
    def dup_general(cpu: Cpu, Q: Value, imm5: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        write(cpu, Rd, vector.splat(cpu.x[Rn].trunc(lane), (128 if pin(Q) else 64) // lane))


def _moves(size: int) -> None:
    """INS, UMOV and SMOV of lanes of one size."""
    lane, letter = 8 << size, "bhsd"[size]
    r = "x" if size == 3 else "w"

    @a64.insn(
        f"0 1 0 01110000 {_sized(size)} 0 0011 1 Rn:5 Rd:5",
        f"ins {{Rd:v}}.{letter}[{{:lane{size}}}], {{Rn:{r}}}",
    )
    def ins_general(cpu: Cpu, imm5: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        number = _lane_of(imm5, size).zext(32)
        cpu.v[Rd] = vector.insert(cpu.v[Rd], lane, number, cpu.x[Rn].trunc(lane))

    @a64.insn(
        f"0 1 1 01110000 {_sized(size)} 0 imm4:4 1 Rn:5 Rd:5",
        f"ins {{Rd:v}}.{letter}[{{:lane{size}}}], {{Rn:v}}.{letter}[{{:from{size}}}]",
    )
    def ins_element(cpu: Cpu, imm5: Value, imm4: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        source = imm4.lsr(size).trunc(max(1, 4 - size))
        one = vector.element(cpu.v[Rn], lane, source)
        cpu.v[Rd] = vector.insert(cpu.v[Rd], lane, _lane_of(imm5, size).zext(32), one)

    @a64.insn(
        f"0 {int(size == 3)} 0 01110000 {_sized(size)} 0 0111 1 Rn:5 Rd:5",
        f"umov {{Rd:{r}}}, {{Rn:v}}.{letter}[{{:lane{size}}}]",
    )
    def umov(cpu: Cpu, imm5: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        cpu.x[Rd] = _element(cpu, Rn, imm5, size).zext(64)

    for q, to, name in ((0, 32, "w"), (1, 64, "x")):
        if lane < to:
            _smov(size, q, to, name)


def _smov(size: int, q: int, to: int, r: str) -> None:
    @a64.insn(
        f"0 {q} 0 01110000 {_sized(size)} 0 0101 1 Rn:5 Rd:5",
        f"smov {{Rd:{r}}}, {{Rn:v}}.{'bhsd'[size]}[{{:lane{size}}}]",
    )
    def meaning(cpu: Cpu, imm5: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        cpu.x[Rd] = _element(cpu, Rn, imm5, size).sext(to).zext(64)


for _size in range(4):
    _copies(_size)
    _moves(_size)


def _permutation(name: str, opcode: str) -> None:
    """ZIP, UZP and TRN."""

    def indices(count: int) -> list[int]:
        half, second = count // 2, int(name[3]) - 1
        if name.startswith("zip"):
            return [n // 2 + second * half + (n % 2) * count for n in range(count)]
        if name.startswith("uzp"):
            return [2 * n + second for n in range(count)]
        return [n - n % 2 + second + (n % 2) * count for n in range(count)]

    @a64.insn(
        f"0 Q:1 001110 size:2 0 Rm:5 0 {opcode} 10 Rn:5 Rd:5",
        f"{name} {ALIKE}",
        where=no_lone_double,
    )
    def meaning(cpu: Cpu, Q: Value, size: Value, Rm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        wide, lane = pin(Q), SIZES[pin(size)]
        a, b = read(cpu, Rn, wide), read(cpu, Rm, wide)
        write(cpu, Rd, vector.shuffle(lane, indices(a.width // lane), a, b))


for _name, _opcode in (
    ("uzp1", "001"), ("trn1", "010"), ("zip1", "011"), ("uzp2", "101"), ("trn2", "110"),
    ("zip2", "111"),
):  # fmt: skip
    _permutation(_name, _opcode)


@a64.insn(
    "0 Q:1 101110 00 0 Rm:5 0 imm4:4 0 Rn:5 Rd:5",
    "ext {Rd:v}.{:bytes}, {Rn:v}.{:bytes}, {Rm:v}.{:bytes}, {imm4:i}",
    where=lambda Q, imm4, **_: (Q == 1) | ((imm4 & 8) == 0),
)
def ext(cpu: Cpu, Q: Value, Rm: Value, imm4: Value, Rn: Value, Rd: Value) -> None:
    """Bytes from imm4 on of the two registers, one behind the other."""
    need_fp(cpu)
    wide, at = pin(Q), pin(imm4)
    a, b = read(cpu, Rn, wide), read(cpu, Rm, wide)
    count = a.width // 8
    at %= count  # others are reserved
    write(cpu, Rd, vector.shuffle(8, range(at, at + count), a, b))


def _table(registers: int, extends: bool) -> None:
    @a64.insn(
        f"0 Q:1 001110 00 0 Rm:5 0 {registers - 1:02b} {int(extends)} 00 Rn:5 Rd:5",
        f"{'tbx' if extends else 'tbl'} {{Rd:v}}.{{:bytes}}, {{Rn:list{registers}}}, "
        "{Rm:v}.{:bytes}",
    )
    def meaning(cpu: Cpu, Q: Value, Rm: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        wide = pin(Q)
        indices = read(cpu, Rm, wide)
        tables = [cpu.v[(Rn + n) & 31] for n in range(registers)]
        found = vector.table(indices, *tables)
        if extends:
            inside = lanes("ult", 8, indices, 16 * registers)
            found = vector.choose(inside, found, read(cpu, Rd, wide))
        write(cpu, Rd, found)


for _registers in range(1, 5):
    _table(_registers, False)
    _table(_registers, True)

# -- immediates (C4.1.96.19; AdvSIMDExpandImm, J1.1.3)


def _expanded(op: int, cmode: int, imm8: Value) -> Value:
    """The constant in 64 bits."""
    wide = imm8.zext(64)

    def repeated(value: Value, lane: int) -> Value:
        return value * const(sum(1 << at for at in range(0, 64, lane)), 64)

    if cmode < 8:
        return repeated(wide << 8 * (cmode >> 1), 32)
    if cmode < 12:
        return repeated(wide << 8 * (cmode >> 1 & 1), 16)
    if cmode < 14:
        ones = 0xFFFF if cmode & 1 else 0xFF
        return repeated(wide << (16 if cmode & 1 else 8) | ones, 32)
    if cmode == 14:
        if not op:
            return repeated(wide, 8)
        spread = const(0, 64)
        for bit in range(8):
            spread = spread | (const(0, 64) - imm8[bit].zext(64) & 0xFF) << 8 * bit
        return spread
    sign, high = imm8[7].zext(64), imm8[6].zext(64)
    if op:
        exponent = select(imm8[6] == 1, const(0xFF, 64) << 54, const(0x100, 64) << 54)
        return sign << 63 | exponent & 0x7FC0 << 48 | (wide & 0x3F) << 48
    exponent32 = select(high == 1, const(0x1F << 25, 64), const(0x20 << 25, 64))
    return repeated(sign << 31 | exponent32 | (wide & 0x3F) << 19, 32)


def _immediate(name: str, op: str, cmodes: str, kind: str, q: str = "Q:1") -> None:
    @a64.insn(
        f"0 {q} {op} 0111100000 imm8[7:5] {cmodes} 01 imm8[4:0] Rd:5", f"{name} {{Rd:v}}.{kind}"
    )
    def meaning(cpu: Cpu, imm8: Value, Rd: Value, **fields: Value) -> None:
        need_fp(cpu)
        wide = pin(fields["Q"]) if "Q" in fields else 1
        free = cmodes.split()
        cmode = 0
        for part in free:
            bits = part.partition(":")[2]
            width = int(bits) if bits else len(part)
            cmode = cmode << width | (pin(fields["shift"]) if bits else int(part, 2))
        value = _expanded(int(op), cmode, imm8)
        both = value.zext(128) << 64 | value.zext(128) if wide else value
        old = read(cpu, Rd, wide)
        match name:
            case "mvni":
                both = ~both
            case "orr":
                both = old | both
            case "bic":
                both = old & ~both
        write(cpu, Rd, both)


for _op, _move, _change in (("0", "movi", "orr"), ("1", "mvni", "bic")):
    _immediate(_move, _op, "0 shift:2 0", "{:q_s}, {imm8:ix}{:lsl8}")
    _immediate(_change, _op, "0 shift:2 1", "{:q_s}, {imm8:ix}{:lsl8}")
    _immediate(_move, _op, "10 shift:1 0", "{:q_h}, {imm8:ix}{:lsl8}")
    _immediate(_change, _op, "10 shift:1 1", "{:q_h}, {imm8:ix}{:lsl8}")
    _immediate(_move, _op, "110 shift:1", "{:q_s}, {imm8:ix}{:msl}")
_immediate("movi", "0", "1110", "{:bytes}, {imm8:ix}")
_immediate("movi", "1", "1110", "2d, {imm8:bytemask}", q="1")
_immediate("fmov", "0", "1111", "{:q_s}, {imm8:float}")
_immediate("fmov", "1", "1111", "2d, {imm8:float}", q="1")


@a64.insn("0 0 1 0111100000 imm8[7:5] 1110 01 imm8[4:0] Rd:5", "movi {Rd:d}, {imm8:bytemask}")
def movi_d(cpu: Cpu, imm8: Value, Rd: Value) -> None:
    need_fp(cpu)
    write(cpu, Rd, _expanded(1, 14, imm8))
