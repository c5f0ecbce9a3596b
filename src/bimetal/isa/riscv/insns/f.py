"""F: single-precision floating point (volume I, chapter 20), in words that D uses as well."""

from __future__ import annotations

from collections.abc import Callable

from ....ir import fp
from ....ir.value import Value, const, select
from ...floating import Numbers, rounded
from ...trace import Cpu, Local, slowly, when
from ..fp import (
    DYN,
    RDN,
    RMM,
    RNE,
    RTZ,
    RUP,
    SINGLE,
    Format,
    dirty,
    need_fp,
    need_mode,
    ready,
    rounding,
)
from ..state import rv64

OP_FP = "1010011"

# Integer formats of the conversions: suffix, rs2 field, width, signed.
INTEGERS = (
    ("w", "00000", 32, True),
    ("wu", "00001", 32, False),
    ("l", "00010", 64, True),
    ("lu", "00011", 64, False),
)


def _insn(form: Format, row: str, text: str) -> Callable[..., Callable[..., None]]:
    return rv64.insn(row, text, extension=form.extension)


def memory(form: Format, load: str, store: str, funct3: str) -> None:
    """Loads and stores: they move bits and never look at them."""

    @_insn(form, f"imm:12 rs1:5 {funct3} rd:5 0000111", f"{load} {{rd:f}}, {{imm:s}}({{rs1:x}})")
    def load_meaning(cpu: Cpu, imm: Value, rs1: Value, rd: Value) -> None:
        need_fp(cpu)
        value = cpu.load(cpu.x[rs1] + imm.sext(64), form.width)
        dirty(cpu)
        form.write(cpu, rd, value)

    @_insn(
        form,
        f"imm[11:5] rs2:5 rs1:5 {funct3} imm[4:0] 0100111",
        f"{store} {{rs2:f}}, {{imm:s}}({{rs1:x}})",
    )
    def store_meaning(cpu: Cpu, imm: Value, rs2: Value, rs1: Value) -> None:
        need_fp(cpu)
        cpu.store(cpu.x[rs1] + imm.sext(64), cpu.f[rs2].trunc(form.width))


def _rounded(form: Format, row: str, text: str, operation: Callable[..., Value]) -> None:
    """An operation that rounds: operands rs1, rs2, rs3 as far as ``row`` has them."""

    @_insn(form, row, f"{text}{{rm:rm}}")
    def meaning(cpu: Cpu, rm: Value, rd: Value, **sources: Value) -> None:
        operands = [form.read(cpu, sources[name]) for name in sorted(sources)]
        with rounding(cpu, rm):
            result = operation(*operands)
        form.write(cpu, rd, form.canonical(result))


def arithmetic(form: Format) -> None:
    """Addition, subtraction, multiplication, division and square root."""
    for name, funct5, operation in (
        ("fadd", "00000", fp.add),
        ("fsub", "00001", fp.sub),
        ("fmul", "00010", fp.mul),
        ("fdiv", "00011", fp.div),
    ):
        _rounded(
            form,
            f"{funct5}{form.code} rs2:5 rs1:5 rm:3 rd:5 {OP_FP}",
            f"{name}.{form.suffix} {{rd:f}}, {{rs1:f}}, {{rs2:f}}",
            operation,
        )
    _rounded(
        form,
        f"01011{form.code} 00000 rs1:5 rm:3 rd:5 {OP_FP}",
        f"fsqrt.{form.suffix} {{rd:f}}, {{rs1:f}}",
        fp.sqrt,
    )


def multiply_add(form: Format) -> None:
    """The four fused operations: a product and an addend, each with a sign of its own."""

    def fused(negate_product: bool, negate_addend: bool) -> Callable[..., Value]:
        def operation(a: Value, b: Value, c: Value) -> Value:
            result = fp.mul_add(
                a ^ form.sign if negate_product else a, b, c ^ form.sign if negate_addend else c
            )
            with slowly(fp.is_nan(result)):
                # Hosts differ on infinity times zero plus a quiet NaN; here it is invalid.
                x, y = a & ~form.sign, b & ~form.sign
                invalid = (x == form.infinity) & (y == 0) | (x == 0) & (y == form.infinity)
                with when(invalid):
                    fp.raise_flags(fp.NV)
            return result

        return operation

    for name, opcode, negate_product, negate_addend in (
        ("fmadd", "1000011", False, False),
        ("fmsub", "1000111", False, True),
        ("fnmsub", "1001011", True, False),
        ("fnmadd", "1001111", True, True),
    ):
        _rounded(
            form,
            f"rs3:5 {form.code} rs2:5 rs1:5 rm:3 rd:5 {opcode}",
            f"{name}.{form.suffix} {{rd:f}}, {{rs1:f}}, {{rs2:f}}, {{rs3:f}}",
            fused(negate_product, negate_addend),
        )


def _bitwise(
    form: Format, name: str, funct5: str, rm: str, operation: Callable[..., Value]
) -> None:
    """An operation of two operands that does not round."""

    @_insn(
        form,
        f"{funct5}{form.code} rs2:5 rs1:5 {rm} rd:5 {OP_FP}",
        f"{name}.{form.suffix} {{rd:f}}, {{rs1:f}}, {{rs2:f}}",
    )
    def meaning(cpu: Cpu, rs2: Value, rs1: Value, rd: Value) -> None:
        ready(cpu)
        form.write(cpu, rd, operation(cpu, form.read(cpu, rs1), form.read(cpu, rs2)))


def sign_injection(form: Format) -> None:
    """The magnitude of rs1 with the sign of rs2, with its inverse, or with the exclusive or of
    both signs."""
    sign = form.sign
    for name, rm, operation in (
        ("fsgnj", "000", lambda cpu, a, b: (a & ~sign) | (b & sign)),
        ("fsgnjn", "001", lambda cpu, a, b: (a & ~sign) | (~b & sign)),
        ("fsgnjx", "010", lambda cpu, a, b: a ^ (b & sign)),
    ):
        _bitwise(form, name, "00100", rm, operation)


def minimum_maximum(form: Format) -> None:
    """minimumNumber and maximumNumber: -0 is below +0, a NaN loses to a number (I 20.6)."""

    def order(value: Value) -> Value:
        """A signed integer that is ordered as the numbers are."""
        return value ^ value.asr(form.width - 1).lsr(1)

    def choice(pick: Callable[[Value, Value, Value], Value]) -> Callable[..., Value]:
        def operation(cpu: Cpu, a: Value, b: Value) -> Value:
            result = cpu.local(pick(order(a).slt(order(b)), a, b))
            with slowly(fp.is_nan(a) | fp.is_nan(b)):
                with when(form.is_signalling(a) | form.is_signalling(b)):
                    fp.raise_flags(fp.NV)
                result.set(select(fp.is_nan(a), select(fp.is_nan(b), form.nan, b), a))
            return result.value

        return operation

    _bitwise(form, "fmin", "00101", "000", choice(lambda less, a, b: select(less, a, b)))
    _bitwise(form, "fmax", "00101", "001", choice(lambda less, a, b: select(less, b, a)))


def comparisons(form: Format) -> None:
    """feq is quiet, flt and fle signal: exactly the operations of `ir.fp`."""

    def describe(name: str, rm: str, operation: Callable[[Value, Value], Value]) -> None:
        @_insn(
            form,
            f"10100{form.code} rs2:5 rs1:5 {rm} rd:5 {OP_FP}",
            f"{name}.{form.suffix} {{rd:x}}, {{rs1:f}}, {{rs2:f}}",
        )
        def meaning(cpu: Cpu, rs2: Value, rs1: Value, rd: Value) -> None:
            ready(cpu)
            cpu.x[rd] = operation(form.read(cpu, rs1), form.read(cpu, rs2)).zext(64)

    describe("feq", "010", fp.equal)
    describe("flt", "001", fp.less)
    describe("fle", "000", fp.less_equal)


def classify(form: Format) -> None:
    """fclass: one bit of ten (I 20.9)."""

    @_insn(
        form,
        f"11100{form.code} 00000 rs1:5 001 rd:5 {OP_FP}",
        f"fclass.{form.suffix} {{rd:x}}, {{rs1:f}}",
    )
    def meaning(cpu: Cpu, rs1: Value, rd: Value) -> None:
        need_fp(cpu)
        value = form.read(cpu, rs1)
        magnitude = value & ~form.sign
        subnormal = magnitude.ult(form.smallest)
        normal = magnitude.ult(form.infinity)
        # Distance from the infinity of the same sign: infinity, normal, subnormal, zero.
        distance = select(normal, select(subnormal, const(2, 64), 1), 0)
        distance = select(magnitude == 0, 3, distance)
        number = select((value & form.sign) == 0, 7 - distance, distance)
        nan = select((value & form.quiet) == 0, const(8, 64), 9)
        cpu.x[rd] = const(1, 64) << select(fp.is_nan(value), nan, number)


def to_integers(form: Format) -> None:
    """fcvt.{w,wu,l,lu}: what is out of range saturates and is invalid (I 20.7)."""
    for suffix, code, width, is_signed in INTEGERS:
        _to_integer(form, suffix, code, width, is_signed)


def _in_range(form: Format, value: Value, width: int, is_signed: bool) -> Value:
    """Whether ``value``, truncated, is such an integer. A NaN is not and raises NV."""
    below = fp.less(value, const(form.number(width - is_signed), form.width))
    if not is_signed:
        return below & fp.less(const(form.number(0, sign=1), form.width), value)
    minimum = form.number(width - 1, sign=1)
    if minimum == form.infinity | form.sign:  # every number of the format is in range
        return below & fp.less(const(minimum, form.width), value)
    if width <= form.precision:  # the format holds minimum - 1: one unit in a place further up
        unit = 1 << (form.precision - width)
        return below & fp.less(const(minimum + unit, form.width), value)
    return below & fp.less_equal(const(minimum, form.width), value)


def _round(cpu: Cpu, form: Format, value: Value, rm: Value, integral: Local) -> None:
    """Set ``integral`` to ``value``, rounded in any mode but RTZ; inexact is not noted."""
    numbers = Numbers(form, form.width)
    for mode, how in ((RNE, "even"), (RDN, "down"), (RUP, "up"), (RMM, "away"), (DYN, "current")):
        with when(rm == mode):
            integral.set(rounded(numbers, value, how))
    with slowly(cpu.fp_ready != 1), when(rm == DYN):  # frm is no mode of the host
        integral.set(rounded(numbers, value, "away"))


def _to_integer(form: Format, suffix: str, code: str, width: int, is_signed: bool) -> None:
    @_insn(
        form,
        f"11000{form.code} {code} rs1:5 rm:3 rd:5 {OP_FP}",
        f"fcvt.{suffix}.{form.suffix} {{rd:x}}, {{rs1:f}}{{rm:rm}}",
    )
    def meaning(cpu: Cpu, rs1: Value, rm: Value, rd: Value) -> None:
        operand = form.read(cpu, rs1)
        need_mode(cpu, rm)
        integral = cpu.local(operand)
        with slowly(rm != RTZ):
            _round(cpu, form, operand, rm, integral)
        value = integral.value
        result = cpu.local(const(0, width))
        with slowly(_in_range(form, value, width, is_signed) == 0) as outside:
            fp.raise_flags(fp.NV)
            low, high = (1 << (width - 1), (1 << (width - 1)) - 1) if is_signed else (0, -1)
            negative = ((value & form.sign) != 0) & (fp.is_nan(value) == 0)
            result.set(select(negative, const(low, width), high))
            with outside.otherwise():
                convert = fp.to_signed if is_signed else fp.to_unsigned
                result.set(convert(value, width))
                with slowly(rm != RTZ):
                    fp.round_to_integral(operand)  # for its flag: the conversion itself was exact
        cpu.x[rd] = result.value.sext(64)


def from_integers(form: Format) -> None:
    """fcvt from {w,wu,l,lu}."""
    for suffix, code, width, is_signed in INTEGERS:
        _from_integer(form, suffix, code, width, is_signed)


def _from_integer(form: Format, suffix: str, code: str, width: int, is_signed: bool) -> None:
    exact = width < form.precision
    row = f"11010{form.code} {code} rs1:5 rm:3 rd:5 {OP_FP}"
    text = f"fcvt.{form.suffix}.{suffix} {{rd:f}}, {{rs1:x}}"
    convert = fp.from_signed if is_signed else fp.from_unsigned

    @_insn(form, row, text + ("{rm:rm_exact}" if exact else "{rm:rm}"))
    def meaning(cpu: Cpu, rs1: Value, rm: Value, rd: Value) -> None:
        operand = cpu.x[rs1].trunc(width)
        with rounding(cpu, rm, exact):
            result = convert(operand, form.width)
        form.write(cpu, rd, result)


def moves(form: Format, suffix: str) -> None:
    """fmv between x and f registers: bits are copied, whatever they mean."""

    @_insn(
        form,
        f"11100{form.code} 00000 rs1:5 000 rd:5 {OP_FP}",
        f"fmv.x.{suffix} {{rd:x}}, {{rs1:f}}",
    )
    def to_x(cpu: Cpu, rs1: Value, rd: Value) -> None:
        need_fp(cpu)
        cpu.x[rd] = cpu.f[rs1].trunc(form.width).sext(64)

    @_insn(
        form,
        f"11110{form.code} 00000 rs1:5 000 rd:5 {OP_FP}",
        f"fmv.{suffix}.x {{rd:f}}, {{rs1:x}}",
    )
    def to_f(cpu: Cpu, rs1: Value, rd: Value) -> None:
        ready(cpu)
        form.write(cpu, rd, cpu.x[rs1].trunc(form.width))


def describe_format(form: Format, suffix: str, load: str, store: str, funct3: str) -> None:
    """All that F and D have in common."""
    memory(form, load, store, funct3)
    arithmetic(form)
    multiply_add(form)
    sign_injection(form)
    minimum_maximum(form)
    comparisons(form)
    classify(form)
    to_integers(form)
    from_integers(form)
    moves(form, suffix)


describe_format(SINGLE, "w", "flw", "fsw", "010")
