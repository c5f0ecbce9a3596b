"""Conversions of vectors of numbers, and the scalar instructions among the Advanced SIMD ones
(C4.1.96)."""

from __future__ import annotations

from collections.abc import Callable

from ....ir.value import Value
from ...trace import Cpu
from ..fp import DOUBLE, HALF, SINGLE, STORED_HALF, Format, Numbers, write
from ..fp_access import need_fp
from ..fp_conversions import (
    MODES,
    convert,
    from_integer,
    integral,
    integral_of_size,
    to_integer,
)
from ..fp_encodings import FORMATS, SHAPES, extension_of, text_of, two_registers
from ..state import a64

Operation = Callable[[Cpu, Numbers, Value], Value]


def vectors(name: str, code: str, operation: Operation, extension: str = "") -> None:
    """Two registers of one shape; ``code`` is U, the upper bit of size, and the opcode."""
    u, a, opcode = code.split()
    for shape in SHAPES:
        if shape.form is HALF and extension:
            continue  # a later extension, which has no instructions for halves

        @a64.insn(
            f"0 {shape.q} {u} 01110 {two_registers(shape.form, a, opcode)}",
            text_of(name, shape.arrangement, "Rd", "Rn"),
            extension=extension or extension_of(shape.form),
        )
        def meaning(cpu: Cpu, Rn: Value, Rd: Value, numbers: Numbers = shape.numbers) -> None:
            write(cpu, Rd, operation(cpu, numbers, numbers.read(cpu, Rn)))


def scalars(name: str, code: str, operation: Operation) -> None:
    """The same of single numbers, where integers are in these registers too."""
    u, a, opcode = code.split()
    for form in FORMATS:
        numbers = Numbers(form, form.width)

        @a64.insn(
            f"01 {u} 11110 {two_registers(form, a, opcode)}",
            f"{name} {{Rd:{form.register}}}, {{Rn:{form.register}}}",
            extension=extension_of(form),
        )
        def meaning(cpu: Cpu, Rn: Value, Rd: Value, numbers: Numbers = numbers) -> None:
            write(cpu, Rd, operation(cpu, numbers, numbers.read(cpu, Rn)))


def _integral(how: str) -> Operation:
    return lambda cpu, numbers, value: integral(cpu, numbers, value, how)


def _of_size(how: str, width: int) -> Operation:
    return lambda cpu, numbers, value: integral_of_size(cpu, numbers, value, how, width)


def _to_integer(letter: str, is_signed: bool) -> Operation:
    return lambda cpu, numbers, value: to_integer(cpu, numbers, value, MODES[letter], is_signed)


def _from_integer(is_signed: bool) -> Operation:
    def operation(cpu: Cpu, numbers: Numbers, value: Value) -> Value:
        need_fp(cpu)
        return from_integer(cpu, numbers, value, is_signed)

    return operation


def _fixed_point(form: Format, head: str, numbers: Numbers, text: str, is_signed: bool) -> None:
    """Integers with a fraction: the field counts down from twice the width."""
    width, s = form.width, "s" if is_signed else "u"
    scale = {16: "001 scale:4", 32: "01 scale:5", 64: "1 scale:6"}[width]

    @a64.insn(
        f"{head} 1111 0 {scale} 11111 1 Rn:5 Rd:5",
        f"fcvtz{s} {text}, {{scale:fbits}}",
        extension=extension_of(form),
    )
    def to_fixed(cpu: Cpu, scale: Value, Rn: Value, Rd: Value) -> None:
        bits, value = width - scale.zext(8), numbers.read(cpu, Rn)
        write(cpu, Rd, to_integer(cpu, numbers, value, "zero", is_signed, fraction=bits))

    @a64.insn(
        f"{head} 1111 0 {scale} 11100 1 Rn:5 Rd:5",
        f"{s}cvtf {text}, {{scale:fbits}}",
        extension=extension_of(form),
    )
    def from_fixed(cpu: Cpu, scale: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        bits, value = width - scale.zext(8), numbers.read(cpu, Rn)
        write(cpu, Rd, from_integer(cpu, numbers, value, is_signed, bits))


def _lengths(wide: Format, narrow: Format, sz: str) -> None:
    """FCVTL and FCVTN, and those of them that take the upper half of a register."""
    count = 128 // wide.width
    low, high = f"{count}{narrow.letter}", f"{2 * count}{narrow.letter}"
    whole = f"{count}{wide.letter}"
    short, long = Numbers(narrow, 64), Numbers(wide, 128)
    for q, suffix, arrangement in (("0", "", low), ("1", "2", high)):

        @a64.insn(
            f"0 {q} 0 01110 0{sz} 10000 10111 10 Rn:5 Rd:5",
            f"fcvtl{suffix} {{Rd:v}}.{whole}, {{Rn:v}}.{arrangement}",
        )
        def lengthen(cpu: Cpu, Rn: Value, Rd: Value, upper: bool = q == "1") -> None:
            value = cpu.v[Rn]
            half = value[127:64] if upper else value.trunc(64)
            write(cpu, Rd, convert(cpu, short, long, half))

        @a64.insn(
            f"0 {q} 0 01110 0{sz} 10000 10110 10 Rn:5 Rd:5",
            f"fcvtn{suffix} {{Rd:v}}.{arrangement}, {{Rn:v}}.{whole}",
        )
        def narrowed(cpu: Cpu, Rn: Value, Rd: Value, upper: bool = q == "1") -> None:
            value, old = long.read(cpu, Rn), cpu.v[Rd].trunc(64)
            half = convert(cpu, long, short, value)
            if upper:
                write(cpu, Rd, half.zext(128) << 64 | old.zext(128))
            else:
                write(cpu, Rd, half)


for _name, _code, _how in (
    ("frintn", "0 0 11000", "even"), ("frintm", "0 0 11001", "down"),
    ("frintp", "0 1 11000", "up"), ("frintz", "0 1 11001", "zero"),
    ("frinta", "1 0 11000", "away"), ("frintx", "1 0 11001", "exact"),
    ("frinti", "1 1 11001", "current"),
):  # fmt: skip
    vectors(_name, _code, _integral(_how))
for _name, _code, _how, _width in (
    ("frint32z", "0 0 11110", "zero", 32), ("frint32x", "1 0 11110", "current", 32),
    ("frint64z", "0 0 11111", "zero", 64), ("frint64x", "1 0 11111", "current", 64),
):  # fmt: skip
    vectors(_name, _code, _of_size(_how, _width), "frintts")
for _u, _s, _signed in (("0", "s", True), ("1", "u", False)):
    for _letter, _code in (
        ("n", "0 11010"), ("m", "0 11011"), ("a", "0 11100"), ("p", "1 11010"), ("z", "1 11011"),
    ):  # fmt: skip
        for _kind in (vectors, scalars):
            _kind(f"fcvt{_letter}{_s}", f"{_u} {_code}", _to_integer(_letter, _signed))
    for _kind in (vectors, scalars):
        _kind(f"{_s}cvtf", f"{_u} 0 11101", _from_integer(_signed))
    for _shape in SHAPES:
        _text = f"{{Rd:v}}.{_shape.arrangement}, {{Rn:v}}.{_shape.arrangement}"
        _fixed_point(_shape.form, f"0 {_shape.q} {_u} 0", _shape.numbers, _text, _signed)
    for _form in FORMATS:
        _text = f"{{Rd:{_form.register}}}, {{Rn:{_form.register}}}"
        _fixed_point(_form, f"01 {_u} 1", Numbers(_form, _form.width), _text, _signed)
_lengths(SINGLE, STORED_HALF, "0")
_lengths(DOUBLE, SINGLE, "1")
