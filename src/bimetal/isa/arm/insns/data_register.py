"""Data processing with registers (C4.1.95): sums, logic, conditions."""

from __future__ import annotations

from collections.abc import Callable

from ....ir.value import Value, select
from ...trace import Cpu
from ..flags import Flags, added, added_with_carry, holds, set_flags, set_nz, subtracted
from ..operands import FORMS, Form, extended, read_sp, shifted, write, write_sp
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
