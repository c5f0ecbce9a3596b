"""Floating-point arithmetic on vectors of numbers, and the scalar instructions among the Advanced
SIMD ones (C4.1.96)."""

from __future__ import annotations

from collections.abc import Callable

from ....ir import fp
from ....ir.value import Value
from ....ir.vector import choose, element, lanes, shuffle, splat
from ...trace import Cpu
from ..fp import DOUBLE, HALF, SINGLE, Format, Numbers, flushed, write
from ..fp_access import need_fp
from ..fp_encodings import (
    FORMATS,
    SHAPES,
    Shape,
    extension_of,
    text_of,
    three_registers,
    two_registers,
)
from ..fp_ops import ARITHMETIC, Binary, fused, negated, root
from ..state import a64
from .fp_scalar import expanded


def three(shape: Shape, name: str, code: str, operation: Callable[..., Value]) -> None:
    """Three registers of one shape; ``code`` is U, the upper bit of size, and the opcode."""
    u, a, opcode = code.split()
    numbers = shape.numbers

    @a64.insn(
        f"0 {shape.q} {u} 01110 {three_registers(shape.form, a, opcode)}",
        text_of(name, shape.arrangement, "Rd", "Rn", "Rm"),
        extension=extension_of(shape.form),
    )
    def meaning(cpu: Cpu, Rm: Value, Rn: Value, Rd: Value) -> None:
        write(cpu, Rd, operation(cpu, numbers, numbers.read(cpu, Rn), numbers.read(cpu, Rm)))


def three_scalar(form: Format, name: str, code: str, operation: Callable[..., Value]) -> None:
    """The same of single numbers."""
    u, a, opcode = code.split()
    numbers = Numbers(form, form.width)

    @a64.insn(
        f"01 {u} 11110 {three_registers(form, a, opcode)}",
        f"{name} " + ", ".join(f"{{{r}:{form.register}}}" for r in ("Rd", "Rn", "Rm")),
        extension=extension_of(form),
    )
    def meaning(cpu: Cpu, Rm: Value, Rn: Value, Rd: Value) -> None:
        write(cpu, Rd, operation(cpu, numbers, numbers.read(cpu, Rn), numbers.read(cpu, Rm)))


def _pairs(operation: Binary) -> Binary:
    """Neighbours, first those of one operand and then those of the other."""

    def combine(cpu: Cpu, numbers: Numbers, a: Value, b: Value) -> Value:
        even, odd = (
            shuffle(numbers.lane, range(first, 2 * numbers.count, 2), a, b) for first in (0, 1)
        )
        return operation(cpu, numbers, even, odd)

    return combine


def _difference(cpu: Cpu, numbers: Numbers, a: Value, b: Value) -> Value:
    return numbers.magnitudes(ARITHMETIC["fsub"](cpu, numbers, a, b))


def multiplied_extended(cpu: Cpu, numbers: Numbers, a: Value, b: Value) -> Value:
    """FPMulX: infinity times zero is 2."""
    a, b = flushed(cpu, numbers, a, b)
    form, lane = numbers.format, numbers.lane

    def is_(value: Value, bits: int) -> Value:
        return lanes("eq", lane, numbers.magnitudes(value), bits)

    lost = (is_(a, form.infinity) & is_(b, 0)) | (is_(a, 0) & is_(b, form.infinity))
    signs = numbers.each(form.sign)
    a = choose(lost, (a & signs) | numbers.each(form.number(1)), a)
    b = choose(lost, (b & signs) | numbers.each(form.number(0)), b)
    return ARITHMETIC["fmul"](cpu, numbers, a, b)


def _comparison(compare: Callable[..., Value], absolute: bool = False) -> Binary:
    """FPCompareEQ and its like: ones where ``compare`` holds of b and a, in this order."""

    def combine(cpu: Cpu, numbers: Numbers, a: Value, b: Value) -> Value:
        a, b = flushed(cpu, numbers, a, b)
        if absolute:
            a, b = numbers.magnitudes(a), numbers.magnitudes(b)
        return compare(b, a, numbers.lane)

    return combine


EQUAL, GREATER, GREATER_EQUAL = (
    _comparison(compare) for compare in (fp.equal, fp.less, fp.less_equal)
)


def _accumulated(shape: Shape, name: str, code: str, negate: bool) -> None:
    """FMLA and FMLS."""
    numbers = shape.numbers

    @a64.insn(
        f"0 {shape.q} 0 01110 {three_registers(shape.form, code, '11001')}",
        text_of(name, shape.arrangement, "Rd", "Rn", "Rm"),
        extension=extension_of(shape.form),
    )
    def meaning(cpu: Cpu, Rm: Value, Rn: Value, Rd: Value) -> None:
        a, b, addend = (numbers.read(cpu, register) for register in (Rn, Rm, Rd))
        write(cpu, Rd, fused(cpu, numbers, addend, negated(numbers, a) if negate else a, b))


ELEMENTS = (("fmla", "0", "0001"), ("fmls", "0", "0101"), ("fmul", "0", "1001"),
            ("fmulx", "1", "1001"))  # fmt: skip


def by_element(cpu: Cpu, name: str, numbers: Numbers, *registers: Value) -> None:
    """One of `ELEMENTS` with a lane of the last register but one; the last says which."""
    Rd, Rn, Rm, index = registers
    a = numbers.read(cpu, Rn)
    b = splat(element(cpu.v[Rm], numbers.lane, index.zext(32)), numbers.count)
    if name in ("fmla", "fmls"):
        a = negated(numbers, a) if name == "fmls" else a
        write(cpu, Rd, fused(cpu, numbers, numbers.read(cpu, Rd), a, b))
    else:
        multiply = multiplied_extended if name == "fmulx" else ARITHMETIC["fmul"]
        write(cpu, Rd, multiply(cpu, numbers, a, b))


PLACES = {
    HALF: ("00 index[1:0] Rm:4", "index[2]"), SINGLE: ("10 index[0] Rm:5", "index[1]"),
    DOUBLE: ("11 0 Rm:5", "index:1"),
}  # fmt: skip
"""Where the number of a lane stands, about the opcode."""


def _element(form: Format, head: str, text: str, numbers: Numbers, of: tuple[str, str]) -> None:
    name, opcode = of
    before, after = PLACES[form]

    @a64.insn(
        f"{head} {before} {opcode} {after} 0 Rn:5 Rd:5",
        f"{text}, {{Rm:v}}.{form.letter}[{{index:u}}]",
        extension=extension_of(form),
    )
    def meaning(cpu: Cpu, index: Value, Rm: Value, Rn: Value, Rd: Value) -> None:
        by_element(cpu, name, numbers, Rd, Rn, Rm, index)


def _one(shape: Shape, name: str, code: str, operation: Callable[..., Value]) -> None:
    u, a, opcode = code.split()
    numbers = shape.numbers

    @a64.insn(
        f"0 {shape.q} {u} 01110 {two_registers(shape.form, a, opcode)}",
        text_of(name, shape.arrangement, "Rd", "Rn"),
        extension=extension_of(shape.form),
    )
    def meaning(cpu: Cpu, Rn: Value, Rd: Value) -> None:
        write(cpu, Rd, operation(cpu, numbers, numbers.read(cpu, Rn)))


def _with_zero(name: str, code: str, operation: Binary, swapped: bool) -> None:
    """Comparisons with zero, of vectors and of numbers."""
    u, opcode = code.split()

    def describe(row: str, text: str, numbers: Numbers) -> None:
        @a64.insn(
            f"{row} {two_registers(numbers.format, '1', opcode)}",
            f"{text}, #0.0",
            extension=extension_of(numbers.format),
        )
        def meaning(cpu: Cpu, Rn: Value, Rd: Value) -> None:
            pair = (numbers.read(cpu, Rn), numbers.each(0))
            write(cpu, Rd, operation(cpu, numbers, *(reversed(pair) if swapped else pair)))

    for shape in SHAPES:
        text = text_of(name, shape.arrangement, "Rd", "Rn")
        describe(f"0 {shape.q} {u} 01110", text, shape.numbers)
    for form in FORMATS:
        text = f"{name} {{Rd:{form.register}}}, {{Rn:{form.register}}}"
        describe(f"01 {u} 11110", text, Numbers(form, form.width))


def _pair(form: Format, name: str, code: str, operation: Binary) -> None:
    """The two numbers of a register."""
    a, opcode = code.split()
    numbers = Numbers(form, form.width)
    u, sz = ("0", "0") if form is HALF else ("1", form.code[1])

    @a64.insn(
        f"01 {u} 11110 {a}{sz} 11000 {opcode} 10 Rn:5 Rd:5",
        f"{name} {{Rd:{form.register}}}, {{Rn:v}}.2{form.letter}",
        extension=extension_of(form),
    )
    def meaning(cpu: Cpu, Rn: Value, Rd: Value) -> None:
        low, high = (element(cpu.v[Rn], form.width, n) for n in (0, 1))
        write(cpu, Rd, operation(cpu, numbers, low, high))


def _across(shape: Shape, name: str, a: str, opcode: str) -> None:
    """FMAXV and its like: all numbers, in pairs."""
    operation = ARITHMETIC[name.removesuffix("v")]
    form, u = shape.form, "0" if shape.form is HALF else "1"

    @a64.insn(
        f"0 {shape.q} {u} 01110 {a}0 11000 {opcode} 10 Rn:5 Rd:5",
        f"{name} {{Rd:{form.register}}}, {{Rn:v}}.{shape.arrangement}",
        extension=extension_of(form),
    )
    def meaning(cpu: Cpu, Rn: Value, Rd: Value) -> None:
        value = shape.numbers.read(cpu, Rn)
        while value.width > form.width:
            half = value.width // 2
            combine = operation if half == form.width else _pairs(operation)
            value = combine(cpu, Numbers(form, half), value.trunc(half), value[2 * half - 1 : half])
        write(cpu, Rd, value)


def _immediate(shape: Shape) -> None:
    @a64.insn(
        f"0 {shape.q} 0 0111100000 imm8[7:5] 1111 11 imm8[4:0] Rd:5",
        f"fmov {{Rd:v}}.{shape.arrangement}, {{imm8:float}}",
        extension=extension_of(shape.form),
    )
    def meaning(cpu: Cpu, imm8: Value, Rd: Value) -> None:
        need_fp(cpu)
        write(cpu, Rd, splat(expanded(shape.form, imm8), shape.numbers.count))


def _bits(change: Callable[[Numbers, Value], Value]) -> Callable[..., Value]:
    def operation(cpu: Cpu, numbers: Numbers, value: Value) -> Value:
        need_fp(cpu)
        return change(numbers, value)

    return operation


BOTH: tuple[tuple[str, str, Binary], ...] = (
    ("fmulx", "0 0 11011", multiplied_extended), ("fcmeq", "0 0 11100", EQUAL),
    ("fcmge", "1 0 11100", GREATER_EQUAL), ("fcmgt", "1 1 11100", GREATER),
    ("facge", "1 0 11101", _comparison(fp.less_equal, absolute=True)),
    ("facgt", "1 1 11101", _comparison(fp.less, absolute=True)),
    ("fabd", "1 1 11010", _difference),
)  # fmt: skip
"""What there is of vectors and of single numbers here."""

VECTORS: tuple[tuple[str, str], ...] = (
    ("fmaxnm", "0 0 11000"), ("fminnm", "0 1 11000"), ("fadd", "0 0 11010"),
    ("fsub", "0 1 11010"), ("fmax", "0 0 11110"), ("fmin", "0 1 11110"),
    ("fmul", "1 0 11011"), ("fdiv", "1 0 11111"),
)  # fmt: skip
PAIRS: tuple[tuple[str, str, str, str], ...] = (
    ("fmaxnm", "1 0 11000", "0", "01100"), ("fminnm", "1 1 11000", "1", "01100"),
    ("fadd", "1 0 11010", "0", "01101"), ("fmax", "1 0 11110", "0", "01111"),
    ("fmin", "1 1 11110", "1", "01111"),
)  # fmt: skip

for _shape in SHAPES:
    for _name, _code in VECTORS:
        three(_shape, _name, _code, ARITHMETIC[_name])
    for _name, _code, _operation in BOTH:
        three(_shape, _name, _code, _operation)
    for _name, _code, _, _ in PAIRS:
        three(_shape, _name + "p", _code, _pairs(ARITHMETIC[_name]))
    _accumulated(_shape, "fmla", "0", negate=False)
    _accumulated(_shape, "fmls", "1", negate=True)
    _one(_shape, "fabs", "0 1 01111", _bits(lambda numbers, a: numbers.magnitudes(a)))
    _one(_shape, "fneg", "1 1 01111", _bits(negated))
    _one(_shape, "fsqrt", "1 1 11111", root)
    for _name, _u, _opcode in ELEMENTS:
        _text = text_of(_name, _shape.arrangement, "Rd", "Rn")
        _head = f"0 {_shape.q} {_u} 01111"
        _element(_shape.form, _head, _text, _shape.numbers, (_name, _opcode))
for _form in FORMATS:
    for _name, _code, _operation in BOTH:
        three_scalar(_form, _name, _code, _operation)
    for _name, _, _a, _opcode in PAIRS:
        _pair(_form, _name + "p", f"{_a} {_opcode}", ARITHMETIC[_name])
    for _name, _u, _opcode in ELEMENTS:
        _text = f"{_name} {{Rd:{_form.register}}}, {{Rn:{_form.register}}}"
        _number = Numbers(_form, _form.width)
        _element(_form, f"01 {_u} 11111", _text, _number, (_name, _opcode))
for _name, _a, _opcode in (
    ("fmaxnmv", "0", "01100"), ("fminnmv", "1", "01100"), ("fmaxv", "0", "01111"),
    ("fminv", "1", "01111"),
):  # fmt: skip
    for _shape in SHAPES:
        if _shape.numbers.count > 2:
            _across(_shape, _name, _a, _opcode)
for _name, _code, _operation, _swapped in (
    ("fcmgt", "0 01100", GREATER, False), ("fcmge", "1 01100", GREATER_EQUAL, False),
    ("fcmeq", "0 01101", EQUAL, False), ("fcmle", "1 01101", GREATER_EQUAL, True),
    ("fcmlt", "0 01110", GREATER, True),
):  # fmt: skip
    _with_zero(_name, _code, _operation, _swapped)
for _shape in SHAPES:
    if _shape.form is HALF:
        _immediate(_shape)
