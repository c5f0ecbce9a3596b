"""Floating-point data processing of single numbers, of every format (C4.1.96)."""

from __future__ import annotations

from collections.abc import Callable

from ....ir import fp
from ....ir.value import Value, const, select
from ...trace import Cpu, slowly, when
from ..flags import holds, holds_of_any, set_flags
from ..fp import DOUBLE, HALF, SINGLE, Format, Numbers, flushed, write
from ..fp_access import need_fp
from ..fp_encodings import FORMATS, extension_of
from ..fp_ops import ARITHMETIC, fused, negated, root
from ..state import a64


def _text(form: Format, name: str, *fields: str) -> str:
    return f"{name} " + ", ".join(f"{{{field}:{form.register}}}" for field in fields)


def _one(form: Format, name: str, opcode: str, operation: Callable[..., Value]) -> None:
    """Data processing with one source."""
    numbers = Numbers(form, form.width)

    @a64.insn(
        f"0 0 0 11110 {form.code} 1 {opcode} 10000 Rn:5 Rd:5",
        _text(form, name, "Rd", "Rn"),
        extension=extension_of(form),
    )
    def meaning(cpu: Cpu, Rn: Value, Rd: Value) -> None:
        write(cpu, Rd, operation(cpu, numbers, numbers.read(cpu, Rn)))


def _bits(change: Callable[[Numbers, Value], Value]) -> Callable[..., Value]:
    """Operations on bits: they change signs, of NaNs and tiny numbers too, and raise nothing."""

    def operation(cpu: Cpu, numbers: Numbers, value: Value) -> Value:
        need_fp(cpu)
        return change(numbers, value)

    return operation


def _two(form: Format, name: str, opcode: str, operation: Callable[..., Value]) -> None:
    """Data processing with two sources."""
    numbers = Numbers(form, form.width)

    @a64.insn(
        f"0 0 0 11110 {form.code} 1 Rm:5 {opcode} 10 Rn:5 Rd:5",
        _text(form, name, "Rd", "Rn", "Rm"),
        extension=extension_of(form),
    )
    def meaning(cpu: Cpu, Rm: Value, Rn: Value, Rd: Value) -> None:
        write(cpu, Rd, operation(cpu, numbers, numbers.read(cpu, Rn), numbers.read(cpu, Rm)))


def _negated_product(cpu: Cpu, numbers: Numbers, a: Value, b: Value) -> Value:
    return negated(numbers, ARITHMETIC["fmul"](cpu, numbers, a, b))


def _three(form: Format, name: str, o1: str, o0: str, product: bool, addend: bool) -> None:
    """Data processing with three sources; ``product`` and ``addend`` say what is negated."""
    numbers = Numbers(form, form.width)

    @a64.insn(
        f"0 0 0 11111 {form.code} {o1} Rm:5 {o0} Ra:5 Rn:5 Rd:5",
        _text(form, name, "Rd", "Rn", "Rm", "Ra"),
        extension=extension_of(form),
    )
    def meaning(cpu: Cpu, Rm: Value, Ra: Value, Rn: Value, Rd: Value) -> None:
        a, b, c = (numbers.read(cpu, register) for register in (Rn, Rm, Ra))
        a = negated(numbers, a) if product else a
        c = negated(numbers, c) if addend else c
        write(cpu, Rd, fused(cpu, numbers, c, a, b))


def _compare(cpu: Cpu, numbers: Numbers, a: Value, b: Value, signals: bool) -> None:
    """FPCompare into the flags."""
    a, b = flushed(cpu, numbers, a, b)
    n, z, c, v = (cpu.local(const(bit, 1)) for bit in (0, 0, 1, 1))
    with slowly(fp.unordered(a, b)) as unordered:
        if signals:
            fp.raise_flags(fp.NV)
        with unordered.otherwise():
            less = fp.less(a, b)
            n.set(less)
            z.set(fp.equal_or_unordered(a, b))  # one host comparison; here they are ordered
            c.set(~less)
            v.set(0)
    set_flags(cpu, n.value, z.value, c.value, v.value)


def _comparison(form: Format, name: str, op: str, zero: bool) -> None:
    """FCMP and FCMPE."""
    numbers = Numbers(form, form.width)
    text = _text(form, name, "Rn") + (", #0.0" if zero else f", {{Rm:{form.register}}}")

    @a64.insn(
        f"0 0 0 11110 {form.code} 1 {'00000' if zero else 'Rm:5'} 00 1000 Rn:5 {op}{int(zero)}000",
        text,
        extension=extension_of(form),
    )
    def meaning(cpu: Cpu, Rn: Value, Rm: Value | None = None) -> None:
        other = numbers.each(0) if Rm is None else numbers.read(cpu, Rm)
        _compare(cpu, numbers, numbers.read(cpu, Rn), other, name == "fcmpe")


def _conditional_comparison(form: Format, name: str, op: str) -> None:
    """FCCMP and FCCMPE: a comparison, or the flags of the instruction."""
    numbers = Numbers(form, form.width)
    text = _text(form, name, "Rn", "Rm") + ", {nzcv:ix}, {cond:cond}"

    @a64.insn(
        f"0 0 0 11110 {form.code} 1 Rm:5 cond:4 01 Rn:5 {op} nzcv:4",
        text,
        extension=extension_of(form),
    )
    def meaning(cpu: Cpu, Rm: Value, cond: Value, Rn: Value, nzcv: Value) -> None:
        need_fp(cpu)
        with when(holds_of_any(cpu, cond)) as condition:
            _compare(cpu, numbers, numbers.read(cpu, Rn), numbers.read(cpu, Rm), name == "fccmpe")
            with condition.otherwise():
                set_flags(cpu, nzcv[3], nzcv[2], nzcv[1], nzcv[0])


def _select(form: Format) -> None:
    numbers = Numbers(form, form.width)

    @a64.insn(
        f"0 0 0 11110 {form.code} 1 Rm:5 cond:4 11 Rn:5 Rd:5",
        _text(form, "fcsel", "Rd", "Rn", "Rm") + ", {cond:cond}",
        extension=extension_of(form),
    )
    def fcsel(cpu: Cpu, Rm: Value, cond: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        write(cpu, Rd, select(holds(cpu, cond), numbers.read(cpu, Rn), numbers.read(cpu, Rm)))


def expanded(form: Format, imm8: Value) -> Value:
    """VFPExpandImm: a sign, three bits of exponent, four of significand."""
    exponent = form.width - form.precision
    sign, narrow = imm8[7].zext(form.width), imm8[5:0].zext(form.width)
    high = select(imm8[6] == 1, const((1 << (exponent - 3)) - 1, form.width), 0)
    high = high | (imm8[6] ^ 1).zext(form.width) << (exponent - 3)
    place = high << 6 | narrow
    return sign << (form.width - 1) | place << (form.precision - 5)


def _immediate(form: Format) -> None:
    @a64.insn(
        f"0 0 0 11110 {form.code} 1 imm8:8 100 00000 Rd:5",
        _text(form, "fmov", "Rd") + ", {imm8:float}",
        name=f"fmov_{form.letter}_imm",
        extension=extension_of(form),
    )
    def fmov(cpu: Cpu, imm8: Value, Rd: Value) -> None:
        need_fp(cpu)
        write(cpu, Rd, expanded(form, imm8))


def describe(form: Format) -> None:
    """All that formats have in common."""
    for name, opcode, change in (
        ("fmov", "000000", lambda numbers, a: a),
        ("fabs", "000001", lambda numbers, a: numbers.magnitudes(a)),
        ("fneg", "000010", negated),
    ):
        _one(form, name, opcode, _bits(change))
    _one(form, "fsqrt", "000011", root)
    for name, opcode in (
        ("fmul", "0000"), ("fdiv", "0001"), ("fadd", "0010"), ("fsub", "0011"),
        ("fmax", "0100"), ("fmin", "0101"), ("fmaxnm", "0110"), ("fminnm", "0111"),
    ):  # fmt: skip
        _two(form, name, opcode, ARITHMETIC[name])
    _two(form, "fnmul", "1000", _negated_product)
    for name, o1, o0, product, addend in (
        ("fmadd", "0", "0", False, False),
        ("fmsub", "0", "1", True, False),
        ("fnmadd", "1", "0", True, True),
        ("fnmsub", "1", "1", False, True),
    ):
        _three(form, name, o1, o0, product, addend)
    for name, op in (("fcmp", "0"), ("fcmpe", "1")):
        _comparison(form, name, op, zero=False)
        _comparison(form, name, op, zero=True)
    for name, op in (("fccmp", "0"), ("fccmpe", "1")):
        _conditional_comparison(form, name, op)
    _select(form)
    _immediate(form)


for _form in FORMATS:
    describe(_form)


def _move(form: Format, r: str, sf: str) -> None:
    """FMOV between general and SIMD registers: bits are copied, whatever they mean."""
    wide = 64 if sf == "1" else 32
    row = f"{sf} 0 0 11110 {form.code} 1 00"

    @a64.insn(
        f"{row} 110 000000 Rn:5 Rd:5",
        f"fmov {{Rd:{r}}}, {{Rn:{form.register}}}",
        extension=extension_of(form),
    )
    def to_general(cpu: Cpu, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        cpu.x[Rd] = cpu.v[Rn].trunc(form.width).zext(64)

    @a64.insn(
        f"{row} 111 000000 Rn:5 Rd:5",
        f"fmov {{Rd:{form.register}}}, {{Rn:{r}}}",
        extension=extension_of(form),
    )
    def from_general(cpu: Cpu, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        write(cpu, Rd, cpu.x[Rn].trunc(wide).trunc(form.width))


_move(HALF, "w", "0")
_move(HALF, "x", "1")
_move(SINGLE, "w", "0")
_move(DOUBLE, "x", "1")


@a64.insn("1 0 0 11110 10 1 01 110 000000 Rn:5 Rd:5", "fmov {Rd:x}, {Rn:v}.d[1]")
def fmov_from_top(cpu: Cpu, Rn: Value, Rd: Value) -> None:
    need_fp(cpu)
    cpu.x[Rd] = cpu.v[Rn][127:64]


@a64.insn("1 0 0 11110 10 1 01 111 000000 Rn:5 Rd:5", "fmov {Rd:v}.d[1], {Rn:x}")
def fmov_to_top(cpu: Cpu, Rn: Value, Rd: Value) -> None:
    need_fp(cpu)
    cpu.v[Rd] = cpu.v[Rd].trunc(64).zext(128) | cpu.x[Rn].zext(128) << 64
