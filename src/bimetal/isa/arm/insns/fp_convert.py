"""Conversions of single numbers of every format (C4.1.96): formats, integral numbers, integers."""

from __future__ import annotations

from ....ir import fp
from ....ir.value import Value, const, select
from ...trace import Cpu, slowly
from ..flags import set_flags
from ..fp import DOUBLE, SINGLE, STORED_HALF, Format, Numbers, flushed, write
from ..fp_access import need_fp
from ..fp_conversions import (
    MODES,
    convert,
    from_integer,
    integral,
    integral_of_size,
    to_integer,
)  # fmt: skip
from ..fp_encodings import FORMATS, extension_of
from ..operands import FORMS, Form
from ..state import a64

SIGNS = (("s", True), ("u", False))


def _format(source: Format, to: Format) -> None:
    """FCVT."""
    a, b = Numbers(source, source.width), Numbers(to, to.width)

    @a64.insn(
        f"0 0 0 11110 {source.code} 1 0001{to.code} 10000 Rn:5 Rd:5",
        f"fcvt {{Rd:{to.register}}}, {{Rn:{source.register}}}",
    )
    def fcvt(cpu: Cpu, Rn: Value, Rd: Value) -> None:
        write(cpu, Rd, convert(cpu, a, b, a.read(cpu, Rn)))


def _integral(form: Format, name: str, rmode: str, how: str) -> None:
    """FRINT with one letter more."""
    numbers = Numbers(form, form.width)

    @a64.insn(
        f"0 0 0 11110 {form.code} 1 001{rmode} 10000 Rn:5 Rd:5",
        f"{name} {{Rd:{form.register}}}, {{Rn:{form.register}}}",
        extension=extension_of(form),
    )
    def meaning(cpu: Cpu, Rn: Value, Rd: Value) -> None:
        write(cpu, Rd, integral(cpu, numbers, numbers.read(cpu, Rn), how))


def _integral_of_size(form: Format, width: int, letter: str, opcode: str) -> None:
    """FRINT32Z, FRINT64X and their like."""
    numbers, how = Numbers(form, form.width), "zero" if letter == "z" else "current"

    @a64.insn(
        f"0 0 0 11110 {form.code} 1 0100{opcode} 10000 Rn:5 Rd:5",
        f"frint{width}{letter} {{Rd:{form.register}}}, {{Rn:{form.register}}}",
        extension="frintts",
    )
    def meaning(cpu: Cpu, Rn: Value, Rd: Value) -> None:
        write(cpu, Rd, integral_of_size(cpu, numbers, numbers.read(cpu, Rn), how, width))


def _to_integer(form: Format, general: Form, letter: str, code: str, signed: bool) -> None:
    """FCVTxS and FCVTxU."""
    r, width, sf = general
    numbers = Numbers(form, form.width)

    @a64.insn(
        f"{sf} 0 0 11110 {form.code} 1 {code} 000000 Rn:5 Rd:5",
        f"fcvt{letter}{'s' if signed else 'u'} {{Rd:{r}}}, {{Rn:{form.register}}}",
        extension=extension_of(form),
    )
    def meaning(cpu: Cpu, Rn: Value, Rd: Value) -> None:
        number = numbers.read(cpu, Rn)
        cpu.x[Rd] = to_integer(cpu, numbers, number, MODES[letter], signed, width).zext(64)


def _from_integer(form: Format, general: Form, opcode: str, signed: bool) -> None:
    """SCVTF and UCVTF."""
    r, width, sf = general
    numbers = Numbers(form, form.width)

    @a64.insn(
        f"{sf} 0 0 11110 {form.code} 1 00 {opcode} 000000 Rn:5 Rd:5",
        f"{'s' if signed else 'u'}cvtf {{Rd:{form.register}}}, {{Rn:{r}}}",
        extension=extension_of(form),
    )
    def meaning(cpu: Cpu, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        write(cpu, Rd, from_integer(cpu, numbers, cpu.x[Rn].trunc(width), signed))


def _fixed_point(form: Format, general: Form, signed: bool) -> None:
    """Integers with a fraction: the field counts down from 64."""
    r, width, sf = general
    numbers, s = Numbers(form, form.width), "s" if signed else "u"
    scale = "scale:6" if width == 64 else "1 scale:5"
    opcode = "0" if signed else "1"

    @a64.insn(
        f"{sf} 0 0 11110 {form.code} 0 11 00{opcode} {scale} Rn:5 Rd:5",
        f"fcvtz{s} {{Rd:{r}}}, {{Rn:{form.register}}}, {{scale:fbits}}",
        extension=extension_of(form),
    )
    def to_fixed(cpu: Cpu, scale: Value, Rn: Value, Rd: Value) -> None:
        number, bits = numbers.read(cpu, Rn), width - scale.zext(8)
        cpu.x[Rd] = to_integer(cpu, numbers, number, "zero", signed, width, bits).zext(64)

    @a64.insn(
        f"{sf} 0 0 11110 {form.code} 0 00 01{opcode} {scale} Rn:5 Rd:5",
        f"{s}cvtf {{Rd:{form.register}}}, {{Rn:{r}}}, {{scale:fbits}}",
        extension=extension_of(form),
    )
    def from_fixed(cpu: Cpu, scale: Value, Rn: Value, Rd: Value) -> None:
        need_fp(cpu)
        value, bits = cpu.x[Rn].trunc(width), width - scale.zext(8)
        write(cpu, Rd, from_integer(cpu, numbers, value, signed, bits))


def describe(form: Format) -> None:
    """All that formats have in common."""
    for name, rmode, how in (
        ("frintn", "000", "even"), ("frintp", "001", "up"), ("frintm", "010", "down"),
        ("frintz", "011", "zero"), ("frinta", "100", "away"), ("frintx", "110", "exact"),
        ("frinti", "111", "current"),
    ):  # fmt: skip
        _integral(form, name, rmode, how)
    for general in FORMS:
        for n, (_, signed) in enumerate(SIGNS):
            for letter, rmode in (("n", "00"), ("p", "01"), ("m", "10"), ("z", "11")):
                _to_integer(form, general, letter, f"{rmode} 00{n}", signed)
            _to_integer(form, general, "a", f"00 10{n}", signed)
            _from_integer(form, general, f"01{n}", signed)
            _fixed_point(form, general, signed)


for _form in FORMATS:
    describe(_form)
for _form in (SINGLE, DOUBLE):
    for _opcode, (_width, _letter) in enumerate(((32, "z"), (32, "x"), (64, "z"), (64, "x"))):
        _integral_of_size(_form, _width, _letter, f"{_opcode:02b}")
for _source, _to in (
    (SINGLE, DOUBLE), (SINGLE, STORED_HALF), (DOUBLE, SINGLE),
    (DOUBLE, STORED_HALF), (STORED_HALF, SINGLE), (STORED_HALF, DOUBLE),
):  # fmt: skip
    _format(_source, _to)


@a64.insn("0 0 0 11110 01 1 11 110 000000 Rn:5 Rd:5", "fjcvtzs {Rd:w}, {Rn:d}", extension="jscvt")
def fjcvtzs(cpu: Cpu, Rn: Value, Rd: Value) -> None:
    numbers = Numbers(DOUBLE, 64)
    (value,) = flushed(cpu, numbers, numbers.read(cpu, Rn))
    result, exact = cpu.local(const(0, 32)), cpu.local(const(0, 1))
    inside = fp.less(value, numbers.each(DOUBLE.number(31)))
    inside = inside & fp.less(numbers.each(DOUBLE.number(31, 1) + (1 << 21)), value)
    with slowly(~inside) as outside:
        fp.raise_flags(fp.NV)
        # The lowest bits of the integer: those of the significand, moved.
        significand = (value & (DOUBLE.smallest - 1)) | DOUBLE.smallest
        up = (value.lsr(52) & 0x7FF) - (DOUBLE.maximum_exponent + 52)
        left = select(up.ult(32), significand << (up & 31), 0)
        integer = select(up.slt(0), significand.lsr(-up & 63), left)
        result.set(select(value.slt(0), -integer, integer).trunc(32))
        with outside.otherwise():
            integer = fp.to_signed(value, 32)
            result.set(integer)
            exact.set(fp.from_signed(integer, 64) == value)
    cpu.x[Rd] = result.value.zext(64)
    set_flags(cpu, 0, exact.value, 0, 0)
