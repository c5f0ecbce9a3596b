"""Floating point (Book I, chapter 4): a few instructions of double precision, and FPSCR.

Not described: enabled exceptions, which of the invalid operations it was, FR, FI and FPRF. FPSCR.NI
lets a processor give results that are not IEEE's; the sketch does not.
"""

from __future__ import annotations

from collections.abc import Callable

from bimetal.ir import fp
from bimetal.ir.softfloat import DOUBLE
from bimetal.ir.value import Value, const, select
from bimetal.isa.floating import FloatPolicy, NanRule, Numbers, Tininess
from bimetal.isa.trace import Cpu, slowly, when

from .insns import base, in_both_orders
from .state import ppc

__all__ = ["FLOATING", "SUMMARY", "set_rounding"]

# The bits of FPSCR for our flags, and for any of them.
FLAGS = {fp.NV: 1 << 29, fp.OF: 1 << 28, fp.UF: 1 << 27, fp.DZ: 1 << 26, fp.NX: 1 << 25}
SUMMARY = 1 << 31
CONTROL = 0xFF
# Modes of RN (to nearest, to zero, up, down) as `ir.fp` numbers them, two bits each.
MODES = 0 | 1 << 2 | 3 << 4 | 2 << 6


def set_rounding(cpu: Cpu) -> None:
    """Compute from now on as FPSCR.RN says."""
    mode = cpu.fpscr & 3
    fp.set_rounding((const(MODES, 64).lsr(mode << 1) & 3).trunc(3))


# FRA's NaN, else FRB's, else FRC's (4.3.2); tiny before it is rounded (4.4.4).
FLOATING = FloatPolicy(
    rounding=lambda state: MODES >> 2 * (state.get("fpscr") & 3) & 3,
    set_rounding=set_rounding,
    nans=NanRule.FIRST,
    tininess=Tininess.BEFORE_ROUNDING,
)
DOUBLES = Numbers(DOUBLE, 64)


@in_both_orders("110010 FRT:5 RA:5 D:16", "lfd {FRT:f}, {D:s}({RA:r0})")
def lfd(cpu: Cpu, big: bool, FRT: Value, RA: Value, D: Value) -> None:
    cpu.f[FRT] = cpu.load(base(cpu, RA) + D.sext(64), 64, big_endian=big)


@in_both_orders("110110 FRS:5 RA:5 D:16", "stfd {FRS:f}, {D:s}({RA:r0})")
def stfd(cpu: Cpu, big: bool, FRS: Value, RA: Value, D: Value) -> None:
    cpu.store(base(cpu, RA) + D.sext(64), cpu.f[FRS], big_endian=big)


@ppc.insn("111111 0 11111111 0 FRB:5 1011000111 0", "mtfsf 255, {FRB:f}")
def mtfsf(cpu: Cpu, FRB: Value) -> None:
    value: Value = cpu.f[FRB]
    cpu.fpscr = value & CONTROL
    flags = const(0, 5)
    for flag, bit in FLAGS.items():
        flags = flags | select((value & bit) != 0, const(flag, 5), 0)
    fp.set_flags(flags)
    set_rounding(cpu)


@ppc.insn("111111 FRT:5 00000 00000 1001000111 0", "mffs {FRT:f}")
def mffs(cpu: Cpu, FRT: Value) -> None:
    value: Value = cpu.fpscr
    flags = fp.flags()
    for flag, bit in FLAGS.items():
        value = value | select((flags & flag) != 0, const(bit | SUMMARY, 64), 0)
    cpu.f[FRT] = value


def _arithmetic(name: str, row: str, operation: Callable[..., Value], tiny: bool = False) -> None:
    names = [word.partition(":")[0] for word in row.split() if word.startswith("FR")]
    shown = ", ".join(f"{{{name}:f}}" for name in ["FRT", *names])

    @ppc.insn(f"111111 FRT:5 {row} 0", f"{name} {shown}")
    def meaning(cpu: Cpu, FRT: Value, **sources: Value) -> None:
        operands = [cpu.f[sources[name]] for name in names]
        cpu.f[FRT] = FLOATING.compute(cpu, DOUBLES, operation, *operands, tiny=tiny)


_arithmetic("fadd", "FRA:5 FRB:5 00000 10101", fp.add)
_arithmetic("fsub", "FRA:5 FRB:5 00000 10100", fp.sub)
_arithmetic("fmul", "FRA:5 00000 FRC:5 11001", fp.mul, tiny=True)
_arithmetic("fdiv", "FRA:5 FRB:5 00000 10010", fp.div, tiny=True)
_arithmetic("fsqrt", "00000 FRB:5 00000 10110", fp.sqrt)


@ppc.insn("111111 FRT:5 FRA:5 FRB:5 FRC:5 11101 0", "fmadd {FRT:f}, {FRA:f}, {FRC:f}, {FRB:f}")
def fmadd(cpu: Cpu, FRT: Value, FRA: Value, FRB: Value, FRC: Value) -> None:
    """FRA * FRC + FRB. Infinity times zero is invalid beside a NaN, too."""
    a, b, c = cpu.f[FRA], cpu.f[FRB], cpu.f[FRC]
    result = FLOATING.compute(cpu, DOUBLES, fp.mul_add, a, c, b, tiny=True, order=(0, 2, 1))
    with slowly(fp.is_nan(result)), when(DOUBLES.indefinite(a, c) != 0):
        fp.raise_flags(fp.NV)
    cpu.f[FRT] = result
