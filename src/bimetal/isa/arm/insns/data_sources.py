"""Data processing with one, two and three sources (C4.1.95): shifts, division, checksums, reversal
and counting of bits, multiplication."""

from __future__ import annotations

from collections.abc import Callable

from ....ir.value import Value, const, pure, select
from ...trace import Cpu
from ..operands import FORMS, SHIFTS, Form, write
from ..state import a64

Binary = Callable[[Value, Value], Value]

# -- two: shifts, division, checksums


def _two(form: Form, name: str, opcode: str, operation: Binary) -> None:
    r, width, sf = form

    @a64.insn(
        f"{sf} 0 0 11010110 Rm:5 {opcode} Rn:5 Rd:5", f"{name} {{Rd:{r}}}, {{Rn:{r}}}, {{Rm:{r}}}"
    )
    def meaning(cpu: Cpu, Rm: Value, Rn: Value, Rd: Value) -> None:
        write(cpu, Rd, operation(cpu.x[Rn].trunc(width), cpu.x[Rm].trunc(width)))


def _by_register(kind: int) -> Binary:
    return lambda a, b: SHIFTS[kind](a, b & (a.width - 1))


def udiv(a: Value, b: Value) -> Value:
    """Division by zero gives zero (C6.2.408)."""
    zero = b == 0
    return select(zero, 0, pure("udiv", a, select(zero, 1, b)))


def sdiv(a: Value, b: Value) -> Value:
    """The most negative number divided by -1 is itself."""
    least = const(1 << (a.width - 1), a.width)
    harmless = select((b == 0) | ((a == least) & (b == -1)), 1, b)
    quotient = pure("sdiv", a, harmless)
    return select(b == 0, 0, quotient)


def _crc(value: Value, checksum: Value, polynomial: int) -> Value:
    """A checksum with reversed bits, a bit at a time: LLVM sees constants."""
    for at in range(0, value.width, 8):
        checksum = checksum ^ value[at + 7 : at].zext(32)
        for _ in range(8):
            odd = checksum & 1
            checksum = checksum.lsr(1) ^ ((0 - odd) & polynomial)
    return checksum


def _checksum(size: int, name: str, c: str, polynomial: int) -> None:
    letter = "bhwx"[size]
    register = "x" if letter == "x" else "w"

    @a64.insn(
        f"{int(letter == 'x')} 0 0 11010110 Rm:5 010 {c} {size:02b} Rn:5 Rd:5",
        f"{name}{letter} {{Rd:w}}, {{Rn:w}}, {{Rm:{register}}}",
        extension="crc32",
    )
    def meaning(cpu: Cpu, Rm: Value, Rn: Value, Rd: Value) -> None:
        value = cpu.x[Rm].trunc(8 << size)
        write(cpu, Rd, _crc(value, cpu.x[Rn].trunc(32), polynomial))


# -- one


def _one(form: Form, name: str, opcode: str, operation: Callable[[Value], Value]) -> None:
    r, width, sf = form

    @a64.insn(f"{sf} 1 0 11010110 00000 {opcode} Rn:5 Rd:5", f"{name} {{Rd:{r}}}, {{Rn:{r}}}")
    def meaning(cpu: Cpu, Rn: Value, Rd: Value) -> None:
        write(cpu, Rd, operation(cpu.x[Rn].trunc(width)))


def _rev16(value: Value) -> Value:
    ones = const(0x00FF_00FF_00FF_00FF & ((1 << value.width) - 1), value.width)
    return ((value & ones) << 8) | (value.lsr(8) & ones)


def _rev32(value: Value) -> Value:
    return pure("rotr", pure("bswap", value), 32)


def _leading_signs(value: Value) -> Value:
    """CLS: the bits after the first that are the same as it."""
    return pure("clz", (value ^ value.asr(1)) << 1 | 1)


# -- three: multiplication


def _three(form: Form, name: str, o0: str) -> None:
    """MADD and MSUB."""
    r, width, sf = form

    @a64.insn(
        f"{sf} 00 11011 000 Rm:5 {o0} Ra:5 Rn:5 Rd:5",
        f"{name} {{Rd:{r}}}, {{Rn:{r}}}, {{Rm:{r}}}, {{Ra:{r}}}",
    )
    def meaning(cpu: Cpu, Rm: Value, Ra: Value, Rn: Value, Rd: Value) -> None:
        product = cpu.x[Rn].trunc(width) * cpu.x[Rm].trunc(width)
        addend = cpu.x[Ra].trunc(width)
        write(cpu, Rd, addend + product if name == "madd" else addend - product)


def _long(name: str, u: str, o0: str) -> None:
    """SMADDL, SMSUBL, UMADDL and UMSUBL."""

    @a64.insn(
        f"1 00 11011 {u} 01 Rm:5 {o0} Ra:5 Rn:5 Rd:5",
        f"{name} {{Rd:x}}, {{Rn:w}}, {{Rm:w}}, {{Ra:x}}",
    )
    def meaning(cpu: Cpu, Rm: Value, Ra: Value, Rn: Value, Rd: Value) -> None:
        a, b = (cpu.x[number].trunc(32) for number in (Rn, Rm))
        product = a.zext(64) * b.zext(64) if u == "1" else a.sext(64) * b.sext(64)
        cpu.x[Rd] = cpu.x[Ra] + product if o0 == "0" else cpu.x[Ra] - product


def _high(name: str, u: str) -> None:
    @a64.insn(f"1 00 11011 {u} 10 Rm:5 0 11111 Rn:5 Rd:5", f"{name} {{Rd:x}}, {{Rn:x}}, {{Rm:x}}")
    def meaning(cpu: Cpu, Rm: Value, Rn: Value, Rd: Value) -> None:
        a, b = cpu.x[Rn], cpu.x[Rm]
        product = a.zext(128) * b.zext(128) if u == "1" else a.sext(128) * b.sext(128)
        cpu.x[Rd] = product[127:64]


for _form in FORMS:
    for _name, _opcode, _operation in (
        ("udiv", "000010", udiv),
        ("sdiv", "000011", sdiv),
        ("lsl", "001000", _by_register(0)),
        ("lsr", "001001", _by_register(1)),
        ("asr", "001010", _by_register(2)),
        ("ror", "001011", _by_register(3)),
    ):
        _two(_form, _name, _opcode, _operation)
    for _name, _opcode, _one_operand in (
        ("rbit", "000000", lambda v: pure("bitreverse", v)),
        ("rev16", "000001", _rev16),
        ("clz", "000100", lambda v: pure("clz", v)),
        ("cls", "000101", _leading_signs),
    ):
        _one(_form, _name, _opcode, _one_operand)
    for _name, _o0 in (("madd", "0"), ("msub", "1")):
        _three(_form, _name, _o0)

_one(FORMS[0], "rev", "000010", lambda v: pure("bswap", v))
_one(FORMS[1], "rev", "000011", lambda v: pure("bswap", v))
_one(FORMS[1], "rev32", "000010", _rev32)
for _name, _u in (("s", "0"), ("u", "1")):
    _long(_name + "maddl", _u, "0")
    _long(_name + "msubl", _u, "1")
    _high(_name + "mulh", _u)
for _size in range(4):
    _checksum(_size, "crc32", "0", 0xEDB8_8320)
    _checksum(_size, "crc32c", "1", 0x82F6_3B78)
