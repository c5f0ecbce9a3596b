"""D: double-precision floating point (volume I, chapter 21)."""

from __future__ import annotations

from ....ir import fp
from ....ir.value import Value
from ...trace import Cpu
from ..fp import DOUBLE, SINGLE, rounding
from ..state import rv64
from .f import OP_FP, describe_format

describe_format(DOUBLE, "d", "fld", "fsd", "011")


@rv64.insn(f"0100000 00001 rs1:5 rm:3 rd:5 {OP_FP}", "fcvt.s.d {rd:f}, {rs1:f}{rm:rm}")
def fcvt_s_d(cpu: Cpu, rs1: Value, rm: Value, rd: Value) -> None:
    operand = DOUBLE.read(cpu, rs1)
    with rounding(cpu, rm):
        result = fp.convert(operand, 32)
    SINGLE.write(cpu, rd, SINGLE.canonical(result))


@rv64.insn(f"0100001 00000 rs1:5 rm:3 rd:5 {OP_FP}", "fcvt.d.s {rd:f}, {rs1:f}{rm:rm_exact}")
def fcvt_d_s(cpu: Cpu, rs1: Value, rm: Value, rd: Value) -> None:
    operand = SINGLE.read(cpu, rs1)
    with rounding(cpu, rm, exact=True):
        result = fp.convert(operand, 64)
    DOUBLE.write(cpu, rd, DOUBLE.canonical(result))
