"""Scalar floating point (volume 1, 10.2 and 11.5): a few instructions, and MXCSR.

Not described: unmasked exceptions, and the flag DE, which no other instruction set has.
"""

from __future__ import annotations

from collections.abc import Callable

from bimetal.ir import fp
from bimetal.ir.softfloat import DOUBLE, SINGLE, Format
from bimetal.ir.value import Value, const, select
from bimetal.isa.floating import FloatPolicy, NanRule, Numbers, Tininess
from bimetal.isa.trace import Cpu, pin, when

from .operands import effective
from .rows import opcode_row
from .state import x86

__all__ = ["FLOATING", "RESET", "set_control"]

RESET = 0x1F80
"""MXCSR after reset: all exceptions masked."""
DAZ, RC, FTZ = 6, 13, 15
# The bits of our five flags; and of the rest of the register, which is stored.
FLAGS = {fp.NV: 0, fp.DZ: 2, fp.OF: 3, fp.UF: 4, fp.NX: 5}
STORED = 0xFFC0
# Modes of RC (to nearest, down, up, to zero) as `ir.fp` numbers them, two bits each.
MODES = 0 | 2 << 2 | 3 << 4 | 1 << 6
FORMATS = {"sd": ("f2", DOUBLE), "ss": ("f3", SINGLE)}


def _set_rounding(cpu: Cpu) -> None:
    mode = cpu.mxcsr_control.lsr(RC) & 3
    fp.set_rounding((const(MODES, 32).lsr(mode << 1) & 3).trunc(3))


# Table 4-8 of volume 1 (and 4.8.3.5): the first operand's NaN, else the second's.
FLOATING = FloatPolicy(
    rounding=lambda state: MODES >> 2 * (state.get("mxcsr_control") >> RC & 3) & 3,
    set_rounding=_set_rounding,
    nans=NanRule.FIRST,
    tininess=Tininess.AFTER_ROUNDING,
    negative_default=True,
)


def set_control(cpu: Cpu) -> None:
    """Compute from now on as MXCSR says."""
    _set_rounding(cpu)
    daz, ftz = cpu.mxcsr_control[DAZ], cpu.mxcsr_control[FTZ]
    fp.set_flushing(daz.zext(2) | ftz.zext(2) << 1)


def _read(cpu: Cpu) -> Value:
    value: Value = cpu.mxcsr_control
    flags = fp.flags()
    for flag, place in FLAGS.items():
        value = value | select((flags & flag) != 0, const(1 << place, 32), 0)
    return value


def _write(cpu: Cpu, value: Value) -> None:
    cpu.mxcsr_control = value & STORED
    flags = const(0, 5)
    for flag, place in FLAGS.items():
        flags = flags | select(value[place] == 1, const(flag, 5), 0)
    fp.set_flags(flags)
    set_control(cpu)


x86.view("mxcsr", 32, _read, _write)


@x86.insn(opcode_row("np 0f ae /2"), "ldmxcsr {:M}", where=lambda memory, **_: memory == 1)
def ldmxcsr(cpu: Cpu, **fields: Value) -> None:
    _write(cpu, cpu.load(effective(cpu, fields), 32))


@x86.insn(opcode_row("np 0f ae /3"), "stmxcsr {:M}", where=lambda memory, **_: memory == 1)
def stmxcsr(cpu: Cpu, **fields: Value) -> None:
    cpu.store(effective(cpu, fields), _read(cpu))


def _whole_register(wide: Value, memory: Value, **_: Value) -> Value:
    return (wide == 1) & (memory == 0)


@x86.insn(opcode_row("66 0f 6e /r"), "movq {:V}, {:Ev}", where=_whole_register)
def movq_in(cpu: Cpu, reg: Value, rm: Value, **_: Value) -> None:
    cpu.xmm[reg] = cpu.r[rm].zext(128)


@x86.insn(opcode_row("66 0f 7e /r"), "movq {:Ev}, {:V}", where=_whole_register)
def movq_out(cpu: Cpu, reg: Value, rm: Value, **_: Value) -> None:
    cpu.r[rm] = cpu.xmm[reg].trunc(64)


def _source(cpu: Cpu, form: Format, fields: dict[str, Value]) -> Value:
    """The second operand: a register or memory."""
    if pin(fields["memory"]):
        return cpu.load(effective(cpu, fields), form.width)
    there: Value = cpu.xmm[fields["rm"]].trunc(form.width)
    return there


def _arithmetic(
    name: str, opcode: str, operation: Callable[..., Value], operands: int, tiny: bool = False
) -> None:
    for suffix, (prefix, form) in FORMATS.items():
        shown = "W" + suffix[1]

        @x86.insn(opcode_row(f"{prefix} 0f {opcode} /r"), f"{name}{suffix} {{:V}}, {{:{shown}}}")
        def meaning(cpu: Cpu, form: Format = form, **fields: Value) -> None:
            numbers = Numbers(form, form.width)
            source, whole = _source(cpu, form, fields), cpu.xmm[fields["reg"]]
            given = [whole.trunc(form.width), source][-operands:]
            result = FLOATING.compute(cpu, numbers, operation, *given, tiny=tiny)
            cpu.xmm[fields["reg"]] = (whole & -(1 << form.width)) | result.zext(128)


_arithmetic("add", "58", fp.add, 2)
_arithmetic("mul", "59", fp.mul, 2, tiny=True)
_arithmetic("sub", "5c", fp.sub, 2)
_arithmetic("div", "5e", fp.div, 2, tiny=True)
_arithmetic("sqrt", "51", fp.sqrt, 1)


def _conversions(suffix: str) -> None:
    prefix, form = FORMATS[suffix]
    shown = "W" + suffix[1]

    @x86.insn(opcode_row(f"{prefix} 0f 2c /r"), f"cvtt{suffix}2si {{:Gv}}, {{:{shown}}}")
    def truncate(cpu: Cpu, wide: Value, **fields: Value) -> None:
        """What is out of range is the integer indefinite, and invalid."""
        width, number = 64 if pin(wide) else 32, _source(cpu, form, fields)
        # The lowest integer; of doubles, more than one less rounds to it.
        lowest, least = form.number(width - 1, 1), 0xC1E0_0000_0020_0000
        if form is DOUBLE and width == 32:
            enough = fp.less(const(least, 64), number)
        else:
            enough = fp.less_equal(const(lowest, form.width), number)
        result = cpu.local(const(1 << (width - 1), width))
        with when(enough & fp.less(number, const(form.number(width - 1), form.width))) as there:
            result.set(fp.to_signed(number, width))
            with there.otherwise():
                fp.raise_flags(fp.NV)
        cpu.r[fields["reg"]] = result.value.zext(64)

    @x86.insn(opcode_row(f"{prefix} 0f 2a /r"), f"cvtsi2{suffix} {{:V}}, {{:Ev}}")
    def from_integer(cpu: Cpu, wide: Value, reg: Value, **fields: Value) -> None:
        width = 64 if pin(wide) else 32
        if pin(fields["memory"]):
            number = cpu.load(effective(cpu, fields), width)
        else:
            number = cpu.r[fields["rm"]].trunc(width)
        made = fp.from_signed(number, form.width)
        cpu.xmm[reg] = (cpu.xmm[reg] & -(1 << form.width)) | made.zext(128)


for _suffix in FORMATS:
    _conversions(_suffix)
