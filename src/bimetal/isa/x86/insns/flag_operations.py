"""Flags as operands (volume 2): CLC, STC, CMC, CLD, STD, LAHF, SAHF, SALC."""

from __future__ import annotations

from bimetal.ir.value import Value, const, select
from bimetal.isa.trace import Cpu

from ..describing import insn
from ..fields import AX
from ..flags import DF, arithmetic_flags
from ..operands import Register

AH = const(4, 4)


@insn("f8", "clc")
def clc(cpu: Cpu, **_: Value) -> None:
    cpu.cf = 0


@insn("f9", "stc")
def stc(cpu: Cpu, **_: Value) -> None:
    cpu.cf = 1


@insn("f5", "cmc")
def cmc(cpu: Cpu, **_: Value) -> None:
    cpu.cf = ~cpu.cf


@insn("fc", "cld")
def cld(cpu: Cpu, **_: Value) -> None:
    cpu.system_flags = cpu.system_flags & ~DF


@insn("fd", "std")
def std(cpu: Cpu, **_: Value) -> None:
    cpu.system_flags = cpu.system_flags | DF


def lahf(cpu: Cpu, **_: Value) -> None:
    Register(cpu, AH, 8, const(0, 1)).write(arithmetic_flags(cpu).trunc(8))


def sahf(cpu: Cpu, **_: Value) -> None:
    """All flags of arithmetic but OF."""
    value = Register(cpu, AH, 8, const(0, 1)).read()
    for name, place in (("cf", 0), ("pf", 2), ("af", 4), ("zf", 6), ("sf", 7)):
        setattr(cpu, name, value[place])


for _mode, _extension in (("i64", ""), ("o64", "lahf_lm")):
    insn(f"9f {_mode}", "lahf", extension=_extension)(lahf)
    insn(f"9e {_mode}", "sahf", extension=_extension)(sahf)


@insn("d6 i64", "salc")
def salc(cpu: Cpu, **_: Value) -> None:
    """AL becomes CF eight times. The manual leaves it out."""
    Register(cpu, const(AX, 4), 8).write(select(cpu.cf == 1, const(0xFF, 8), 0))
