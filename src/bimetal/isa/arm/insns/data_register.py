"""Data processing with registers (C4.1.95): sums, logic, shifts, conditions, multiplication."""

from __future__ import annotations

from collections.abc import Callable

from ....ir.value import Value, const, pure, select
from ...trace import Cpu
from ..flags import Flags, added, added_with_carry, holds, set_flags, set_nz, subtracted
from ..operands import FORMS, SHIFTS, Form, extended, read_sp, shifted, write, write_sp
from ..state import a64

Binary = Callable[[Value, Value], Value]


def _below(width: int, name: str, kinds: int = 4) -> Callable[..., Value | bool]:
    """Shifts of 32-bit registers go up to 31; those of sums have three kinds."""

    def where(**fields: Value | int) -> Value | bool:
        small = (fields[name] & (63 & ~(width - 1))) == 0
        return small if kinds == 4 else small & (fields["shift"] != 3)

    return where


# -- sums


def _sum(form: Form, name: str, op: str, combine: Callable[..., tuple[Value, Flags]]) -> None:
    r, width, sf = form
    sets = name.endswith("s")

    def finish(cpu: Cpu, Rd: Value, result: Value, flags: Flags, stack: bool) -> None:
        if stack:
            write_sp(cpu, Rd, result)
            return
        write(cpu, Rd, result)
        if sets:
            set_flags(cpu, *flags)

    @a64.insn(
        f"{sf} {op} 01011 shift:2 0 Rm:5 imm6:6 Rn:5 Rd:5",
        f"{name} {{Rd:{r}}}, {{Rn:{r}}}, {{Rm:{r}}}{{:shift6}}",
        where=_below(width, "imm6", kinds=3),
    )
    def by_shift(cpu: Cpu, shift: Value, Rm: Value, imm6: Value, Rn: Value, Rd: Value) -> None:
        operand = shifted(cpu.x[Rm].trunc(width), shift, imm6)
        finish(cpu, Rd, *combine(cpu.x[Rn].trunc(width), operand), stack=False)

    @a64.insn(
        f"{sf} {op} 01011 00 1 Rm:5 option:3 imm3:3 Rn:5 Rd:5",
        f"{name} {{Rd:{r if sets else r + 'sp'}}}, {{Rn:{r}sp}}, {{:extend_{r}}}",
        where=lambda imm3, **_: (imm3 == 0) | (imm3 == 1) | (imm3 == 2) | (imm3 == 3) | (imm3 == 4),
    )
    def by_extend(cpu: Cpu, Rm: Value, option: Value, imm3: Value, Rn: Value, Rd: Value) -> None:
        operand = extended(cpu.x[Rm], option, imm3, width)
        finish(cpu, Rd, *combine(read_sp(cpu, Rn, width), operand), stack=not sets)


def _with_carry(form: Form, name: str, op: str) -> None:
    r, width, sf = form

    @a64.insn(
        f"{sf} {op} 11010000 Rm:5 000000 Rn:5 Rd:5", f"{name} {{Rd:{r}}}, {{Rn:{r}}}, {{Rm:{r}}}"
    )
    def meaning(cpu: Cpu, Rm: Value, Rn: Value, Rd: Value) -> None:
        b = cpu.x[Rm].trunc(width)
        result, flags = added_with_carry(
            cpu.x[Rn].trunc(width), ~b if name.startswith("sbc") else b, cpu.cf
        )
        write(cpu, Rd, result)
        if name.endswith("s"):
            set_flags(cpu, *flags)


# -- logic


def _logical(form: Form, name: str, opc: str, n: str, operation: Binary) -> None:
    r, width, sf = form

    @a64.insn(
        f"{sf} {opc} 01010 shift:2 {n} Rm:5 imm6:6 Rn:5 Rd:5",
        f"{name} {{Rd:{r}}}, {{Rn:{r}}}, {{Rm:{r}}}{{:shift6}}",
        where=_below(width, "imm6"),
    )
    def meaning(cpu: Cpu, shift: Value, Rm: Value, imm6: Value, Rn: Value, Rd: Value) -> None:
        operand = shifted(cpu.x[Rm].trunc(width), shift, imm6)
        result = operation(cpu.x[Rn].trunc(width), ~operand if n == "1" else operand)
        write(cpu, Rd, result)
        if opc == "11":
            set_nz(cpu, result)


# -- conditions


def _select(form: Form, name: str, op: str, o2: str, change: Callable[[Value], Value]) -> None:
    """CSEL, CSINC, CSINV and CSNEG."""
    r, width, sf = form

    @a64.insn(
        f"{sf} {op} 0 11010100 Rm:5 cond:4 0 {o2} Rn:5 Rd:5",
        f"{name} {{Rd:{r}}}, {{Rn:{r}}}, {{Rm:{r}}}, {{cond:cond}}",
    )
    def meaning(cpu: Cpu, Rm: Value, cond: Value, Rn: Value, Rd: Value) -> None:
        other = change(cpu.x[Rm].trunc(width))
        write(cpu, Rd, select(holds(cpu, cond), cpu.x[Rn].trunc(width), other))


def _compare(form: Form, name: str, op: str, immediate: bool) -> None:
    """CCMN and CCMP: flags of a comparison, or the given ones."""
    r, width, sf = form
    field, bit, kind = ("imm5", "1", "i") if immediate else ("Rm", "0", r)

    @a64.insn(
        f"{sf} {op} 1 11010010 {field}:5 cond:4 {bit} 0 Rn:5 0 nzcv:4",
        f"{name} {{Rn:{r}}}, {{{field}:{kind}}}, {{nzcv:ix}}, {{cond:cond}}",
    )
    def meaning(cpu: Cpu, cond: Value, Rn: Value, nzcv: Value, **operands: Value) -> None:
        operand = operands[field]
        b = operand.zext(width) if immediate else cpu.x[operand].trunc(width)
        _, flags = (added if name == "ccmn" else subtracted)(cpu.x[Rn].trunc(width), b)
        true = holds(cpu, cond)
        given = (nzcv[3], nzcv[2], nzcv[1], nzcv[0])
        set_flags(cpu, *(select(true, f, g) for f, g in zip(flags, given, strict=True)))


# -- shifts, division


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


# -- one operand


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


# -- three operands


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


# -- bit fields (C4.1.92.6)


def _bit_field(form: Form, name: str, opc: str) -> None:
    """SBFM, BFM and UBFM: bits from immr up to imms go to the bottom, or the bits below imms to
    where immr says; which of them follows from the fields, when the instruction is decoded."""
    r, width, sf = form

    @a64.insn(
        f"{sf} {opc} 100110 {sf} immr:6 imms:6 Rn:5 Rd:5",
        f"{name} {{Rd:{r}}}, {{Rn:{r}}}, {{immr:i}}, {{imms:i}}",
        where=(lambda **_: True) if width == 64 else _both_small,
    )
    def meaning(cpu: Cpu, immr: Value, imms: Value, Rn: Value, Rd: Value) -> None:
        low, high = immr.zext(width), imms.zext(width)
        value, top = cpu.x[Rn].trunc(width), width - 1
        extracts = high.uge(low)
        # Left until the field's highest bit is the sign, then right to its place.
        left = (top - high) & top
        right = select(extracts, (top - high) + low, low - high - 1) & top
        if name == "sbfm":
            write(cpu, Rd, (value << left).asr(right))
            return
        field = (value << left).lsr(right)
        if name == "bfm":
            mask = (const(-1, width) << left).lsr(right)
            field = (cpu.x[Rd].trunc(width) & ~mask) | field
        write(cpu, Rd, field)


def _both_small(immr: Value | int, imms: Value | int, **_: Value | int) -> Value | bool:
    return ((immr & 32) == 0) & ((imms & 32) == 0)


def _extract(form: Form) -> None:
    r, width, sf = form

    @a64.insn(
        f"{sf} 00 100111 {sf} 0 Rm:5 imms:6 Rn:5 Rd:5",
        f"extr {{Rd:{r}}}, {{Rn:{r}}}, {{Rm:{r}}}, {{imms:i}}",
        where=lambda imms, **_: (imms & (63 & ~(width - 1))) == 0,
    )
    def meaning(cpu: Cpu, Rm: Value, imms: Value, Rn: Value, Rd: Value) -> None:
        low, high = cpu.x[Rm].trunc(width), cpu.x[Rn].trunc(width)
        both = high.zext(2 * width) << width | low.zext(2 * width)
        write(cpu, Rd, both.lsr(imms.zext(2 * width)).trunc(width))


for _form in FORMS:
    for _name, _op, _combine in (
        ("add", "0 0", added),
        ("adds", "0 1", added),
        ("sub", "1 0", subtracted),
        ("subs", "1 1", subtracted),
    ):
        _sum(_form, _name, _op, _combine)
    for _name, _op in (("adc", "0 0"), ("adcs", "0 1"), ("sbc", "1 0"), ("sbcs", "1 1")):
        _with_carry(_form, _name, _op)
    for _name, _opc, _n, _operation in (
        ("and", "00", "0", lambda a, b: a & b),
        ("bic", "00", "1", lambda a, b: a & b),
        ("orr", "01", "0", lambda a, b: a | b),
        ("orn", "01", "1", lambda a, b: a | b),
        ("eor", "10", "0", lambda a, b: a ^ b),
        ("eon", "10", "1", lambda a, b: a ^ b),
        ("ands", "11", "0", lambda a, b: a & b),
        ("bics", "11", "1", lambda a, b: a & b),
    ):
        _logical(_form, _name, _opc, _n, _operation)
    for _name, _op, _o2, _change in (
        ("csel", "0", "0", lambda v: v),
        ("csinc", "0", "1", lambda v: v + 1),
        ("csinv", "1", "0", lambda v: ~v),
        ("csneg", "1", "1", lambda v: -v),
    ):
        _select(_form, _name, _op, _o2, _change)
    for _name, _op in (("ccmn", "0"), ("ccmp", "1")):
        _compare(_form, _name, _op, immediate=False)
        _compare(_form, _name, _op, immediate=True)
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
    for _name, _opc in (("sbfm", "00"), ("bfm", "01"), ("ubfm", "10")):
        _bit_field(_form, _name, _opc)
    _extract(_form)

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


# -- flags (FlagM, FlagM2)


@a64.insn("1 0 1 11010000 imm:6 00001 Rn:5 0 mask:4", "rmif {Rn:x}, {imm:i}, {mask:ix}",
          extension="flagm")  # fmt: skip
def rmif(cpu: Cpu, imm: Value, Rn: Value, mask: Value) -> None:
    bits = pure("rotr", cpu.x[Rn], imm.zext(64))
    old = (cpu.nf, cpu.zf, cpu.cf, cpu.vf)
    set_flags(cpu, *(select(mask[n] == 1, bits[n], old[3 - n]) for n in (3, 2, 1, 0)))


def _set_flags_by_size(name: str, sz: str, width: int) -> None:
    """SETF8 and SETF16."""

    @a64.insn(f"0 0 1 11010000 000000 {sz} 0010 Rn:5 0 1101", f"{name} {{Rn:w}}", extension="flagm")
    def meaning(cpu: Cpu, Rn: Value) -> None:
        value = cpu.x[Rn]
        set_flags(
            cpu, value[width - 1], value.trunc(width) == 0, cpu.cf, value[width] ^ value[width - 1]
        )


_set_flags_by_size("setf8", "0", 8)
_set_flags_by_size("setf16", "1", 16)


@a64.insn("1101010100 0 00 000 0100 0000 000 11111", "cfinv", extension="flagm")
def cfinv(cpu: Cpu) -> None:
    cpu.cf = ~cpu.cf


@a64.insn("1101010100 0 00 000 0100 0000 001 11111", "xaflag", extension="flagm")
def xaflag(cpu: Cpu) -> None:
    z, c = cpu.zf, cpu.cf
    set_flags(cpu, ~c & ~z, z & c, c | z, ~c & z)


@a64.insn("1101010100 0 00 000 0100 0000 010 11111", "axflag", extension="flagm")
def axflag(cpu: Cpu) -> None:
    z, c, v = cpu.zf, cpu.cf, cpu.vf
    set_flags(cpu, 0, z | v, c & ~v, 0)
