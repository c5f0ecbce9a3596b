"""Zfh: half-precision floating point (volume I, chapter 24).

No host that we can count on computes in this format, so arithmetic on it is left to the
reference by the code generator: exact, and slow. Loads, stores, moves and signs are native.
"""

from __future__ import annotations

from ....ir import fp
from ....ir.value import Value
from ...trace import Cpu
from ..fp import DOUBLE, SINGLE, Format, rounding
from ..state import rv64
from .f import OP_FP, describe_format

HALF = Format(16, 11, "zfh", "h", "10")

describe_format(HALF, "h", "flh", "fsh", "001")


def _conversion(row: str, to: Format, source: Format, exact: bool) -> None:
    kind = "rm_exact" if exact else "rm"

    @rv64.insn(
        f"{row} rs1:5 rm:3 rd:5 {OP_FP}",
        f"fcvt.{to.suffix}.{source.suffix} {{rd:f}}, {{rs1:f}}{{rm:{kind}}}",
    )
    def meaning(cpu: Cpu, rs1: Value, rm: Value, rd: Value) -> None:
        operand = source.read(cpu, rs1)
        with rounding(cpu, rm, exact):
            result = fp.convert(operand, to.width)
        to.write(cpu, rd, to.canonical(result))


_conversion("0100010 00000", HALF, SINGLE, exact=False)
_conversion("0100010 00001", HALF, DOUBLE, exact=False)
_conversion("0100000 00010", SINGLE, HALF, exact=True)
_conversion("0100001 00010", DOUBLE, HALF, exact=True)
