"""Data processing with immediates (C4.1.92): addresses, sums, logic, move wide."""

from __future__ import annotations

from collections.abc import Callable

from ....ir.value import Value, const, pure, select
from ...trace import Cpu
from ..flags import Flags, added, set_flags, set_nz, subtracted
from ..operands import FORMS, Form, read_sp, write, write_sp
from ..state import a64
from ..text import bit_mask

Binary = Callable[[Value, Value], Value]


@a64.insn("0 imm[1:0] 10000 imm[20:2] Rd:5", "adr {Rd:x}, {imm:rel}")
def adr(cpu: Cpu, imm: Value, Rd: Value) -> None:
    cpu.x[Rd] = cpu.pc + imm.sext(64)


@a64.insn("1 imm[1:0] 10000 imm[20:2] Rd:5", "adrp {Rd:x}, {imm:page}")
def adrp(cpu: Cpu, imm: Value, Rd: Value) -> None:
    cpu.x[Rd] = (cpu.pc & ~0xFFF) + (imm.sext(64) << 12)


def _sum(form: Form, name: str, op: str, combine: Callable[..., tuple[Value, Flags]]) -> None:
    """ADD, ADDS, SUB and SUBS; those that set flags write no stack pointer."""
    r, width, sf = form
    sets = name.endswith("s")

    @a64.insn(
        f"{sf} {op} 100010 sh:1 imm:12 Rn:5 Rd:5",
        f"{name} {{Rd:{r if sets else r + 'sp'}}}, {{Rn:{r}sp}}, {{imm:i}}{{:sh12}}",
    )
    def meaning(cpu: Cpu, sh: Value, imm: Value, Rn: Value, Rd: Value) -> None:
        operand = select(sh == 1, imm.zext(width) << 12, imm.zext(width))
        result, flags = combine(read_sp(cpu, Rn, width), operand)
        if not sets:
            write_sp(cpu, Rd, result)
            return
        write(cpu, Rd, result)
        set_flags(cpu, *flags)


def decode_mask(n: Value, immr: Value, imms: Value) -> Value:
    """DecodeBitMasks (J1.1.3): a run of ones, rotated and repeated over 64 bits."""
    n, immr, imms = (field.zext(64) for field in (n, immr, imms))
    length = 63 - pure("clz", n << 6 | (imms ^ 63))
    size = const(1, 64) << length
    levels = size - 1
    run = (const(2, 64) << (imms & levels)) - 1
    rotation = immr & levels
    ones = const(-1, 64).lsr((64 - size) & 63)
    element = (run.lsr(rotation) | run << ((size - rotation) & 63)) & ones
    return element * pure("udiv", const(-1, 64), ones)


def is_mask(
    immr: Value | int, imms: Value | int, N: Value | int = 0, **_: Value | int
) -> Value | bool:
    """Whether the fields are not reserved: a run of ones must not fill its whole element."""
    if isinstance(immr, int):
        return bit_mask(int(N), immr, int(imms), 64) is not None
    assert isinstance(imms, Value)
    n = N if isinstance(N, Value) else const(N, 1)
    key = n.zext(64) << 6 | (imms.zext(64) ^ 63)
    levels = (const(1, 64) << (63 - pure("clz", key | 1))) - 1
    return (key.uge(2)) & ((imms.zext(64) & levels) != levels)


def _logical(form: Form, name: str, opc: str, operation: Binary) -> None:
    """AND, ORR, EOR and ANDS with a mask; ANDS writes no stack pointer."""
    r, width, sf = form
    sets = name == "ands"
    n = "N:1" if width == 64 else "0"

    @a64.insn(
        f"{sf} {opc} 100100 {n} immr:6 imms:6 Rn:5 Rd:5",
        f"{name} {{Rd:{r if sets else r + 'sp'}}}, {{Rn:{r}}}, {{:mask{width}}}",
        where=is_mask,
    )
    def meaning(
        cpu: Cpu, immr: Value, imms: Value, Rn: Value, Rd: Value, N: Value | None = None
    ) -> None:
        mask = decode_mask(N if N is not None else const(0, 1), immr, imms).trunc(width)
        result = operation(cpu.x[Rn].trunc(width), mask)
        if not sets:
            write_sp(cpu, Rd, result)
            return
        write(cpu, Rd, result)
        set_nz(cpu, result)


def _move_wide(form: Form, name: str, opc: str) -> None:
    """MOVN, MOVZ and MOVK."""
    r, width, sf = form
    hw = "hw:2" if width == 64 else "0 hw[0]"

    @a64.insn(f"{sf} {opc} 100101 {hw} imm:16 Rd:5", f"{name} {{Rd:{r}}}, {{imm:ix}}{{:hw}}")
    def meaning(cpu: Cpu, hw: Value, imm: Value, Rd: Value) -> None:
        amount = hw.zext(width) << 4
        placed = imm.zext(width) << amount
        if name == "movk":
            hole = const(0xFFFF, width) << amount
            write(cpu, Rd, (cpu.x[Rd].trunc(width) & ~hole) | placed)
        else:
            write(cpu, Rd, ~placed if name == "movn" else placed)


for _form in FORMS:
    for _name, _op, _combine in (
        ("add", "0 0", added),
        ("adds", "0 1", added),
        ("sub", "1 0", subtracted),
        ("subs", "1 1", subtracted),
    ):
        _sum(_form, _name, _op, _combine)
    for _name, _op, _operation in (
        ("and", "00", lambda a, b: a & b),
        ("orr", "01", lambda a, b: a | b),
        ("eor", "10", lambda a, b: a ^ b),
        ("ands", "11", lambda a, b: a & b),
    ):
        _logical(_form, _name, _op, _operation)
    for _name, _op in (("movn", "00"), ("movz", "10"), ("movk", "11")):
        _move_wide(_form, _name, _op)
