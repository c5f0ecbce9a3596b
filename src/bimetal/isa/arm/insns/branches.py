"""Branches and exception generation (C4.1.93), without those that authenticate pointers."""

from __future__ import annotations

from collections.abc import Callable

from ....ir.value import Value
from ...trace import Cpu, when
from ..flags import holds
from ..landings import CALLED, GUARDED, JUMPED, VENEER
from ..operands import FORMS, Form
from ..state import a64
from ..syndromes import undefined

__all__ = ["jumps"]


@a64.insn("0 00101 imm[27:2]", "b {imm:rel}")
def b(cpu: Cpu, imm: Value) -> None:
    cpu.jump(cpu.pc + imm.sext(64))


@a64.insn("1 00101 imm[27:2]", "bl {imm:rel}")
def bl(cpu: Cpu, imm: Value) -> None:
    cpu.x[30] = cpu.next_pc
    cpu.jump(cpu.pc + imm.sext(64))


@a64.insn("0101010 0 imm[20:2] 0 cond:4", "b.{cond:cond} {imm:rel}", name="b.cond")
def b_cond(cpu: Cpu, imm: Value, cond: Value) -> None:
    with when(holds(cpu, cond)):
        cpu.jump(cpu.pc + imm.sext(64))


def _compare_and_branch(form: Form, name: str, op: str) -> None:
    r, width, sf = form

    @a64.insn(f"{sf} 011010 {op} imm[20:2] Rt:5", f"{name} {{Rt:{r}}}, {{imm:rel}}")
    def meaning(cpu: Cpu, imm: Value, Rt: Value) -> None:
        value = cpu.x[Rt].trunc(width)
        with when(value == 0 if name == "cbz" else value != 0):
            cpu.jump(cpu.pc + imm.sext(64))


def _test_and_branch(r: str, high: str, name: str, op: str) -> None:
    @a64.insn(
        f"{high} 011011 {op} bit[4:0] imm[15:2] Rt:5",
        f"{name} {{Rt:{r}}}, {{bit:i{'32' if r == 'x' else ''}}}, {{imm:rel}}",
    )
    def meaning(cpu: Cpu, bit: Value, imm: Value, Rt: Value) -> None:
        value = cpu.x[Rt].trunc(64 if r == "x" else 32)
        tested = value.lsr(bit.zext(value.width) + (32 if r == "x" else 0))[0]
        with when(tested == (0 if name == "tbz" else 1)):
            cpu.jump(cpu.pc + imm.sext(64))


for _form in FORMS:
    _compare_and_branch(_form, "cbz", "0")
    _compare_and_branch(_form, "cbnz", "1")
for _r, _high in (("w", "0"), ("x", "1")):
    _test_and_branch(_r, _high, "tbz", "0")
    _test_and_branch(_r, _high, "tbnz", "1")


def jumps(row: str, text: str, target: Callable[..., Value], extension: str = "branches") -> None:
    """Describe an indirect jump to the address that ``target`` computes from its fields."""

    @a64.insn(row, text, extension=extension)
    def meaning(cpu: Cpu, **fields: Value) -> None:
        cpu.jump(target(cpu, **fields), landing=VENEER)

    def through_others(Rn: Value, **_: Value) -> Value:
        return (Rn & 0x1E) != 16

    @a64.insn(f"{GUARDED} {row}", text, where=through_others, extension=extension)
    def in_guarded_page(cpu: Cpu, **fields: Value) -> None:
        cpu.jump(target(cpu, **fields), landing=JUMPED)


jumps("1101011 0 0 00 11111 0000 0 0 Rn:5 00000", "br {Rn:x}", lambda cpu, Rn: cpu.x[Rn])


@a64.insn("1101011 0 0 01 11111 0000 0 0 Rn:5 00000", "blr {Rn:x}")
def blr(cpu: Cpu, Rn: Value) -> None:
    target = cpu.x[Rn]
    cpu.x[30] = cpu.next_pc
    cpu.jump(target, landing=CALLED)


@a64.insn("1101011 0 0 10 11111 0000 0 0 Rn:5 00000", "ret {Rn:x}")
def ret(cpu: Cpu, Rn: Value) -> None:
    cpu.jump(cpu.x[Rn])


@a64.insn("0000000000000000 imm:16", "udf {imm:i}")
def udf(cpu: Cpu, imm: Value) -> None:
    undefined(cpu)
