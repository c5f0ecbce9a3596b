"""Traps of the SIMD and floating-point registers (CPACR_EL1, CPTR_EL2; D1.3.6.5)."""

from __future__ import annotations

from ...ir import fp
from ...ir.value import Value, const, select
from ..trace import Cpu, slowly, when
from .hosts import hosted
from .state import a64
from .syndromes import E2H, EL0, EL2, FP_ACCESS, NO_CONDITION, TGE, TO_EL2, UNKNOWN, syndrome

__all__ = [
    "AHP", "DN", "FZ", "FZ16", "IDC", "MODES", "RMODE",
    "need_fp", "set_rounding", "update_fp_ready",
]  # fmt: skip

FPEN = 20  # of CPACR_EL1, and of CPTR_EL2 with E2H
TFP = 1 << 10  # of CPTR_EL2 without
AHP, DN, FZ, FZ16 = 1 << 26, 1 << 25, 1 << 24, 1 << 19
"""Of FPCR: another half format, default NaNs, flushing to zero, the same in half precision."""
IDC = 1 << 7
"""Of FPSR: an operand was flushed. The host has no such flag."""


@a64.routine(returns=64)
def fp_trap(cpu: Cpu) -> Value:
    """The cause of the trap of a use of these registers, or 0."""
    host = hosted(cpu)
    enabled = cpu.cpacr.lsr(FPEN) & 3
    barred = ((enabled & 1) == 0) | ((enabled == 1) & (cpu.el == EL0))
    by_el1 = barred & (cpu.el != EL2) & ~host
    for_host = cpu.cptr.lsr(FPEN) & 3
    of_user = (for_host == 1) & (cpu.el == EL0) & host
    with_host = ((for_host & 1) == 0) | of_user
    by_el2 = select((cpu.hcr & E2H) != 0, with_host, (cpu.cptr & TFP) != 0)
    by_el2 = by_el2 & (cpu.el2_there == 1)
    # What EL2 takes in EL1's place does not say what it is (D17.2.37, EC 7).
    told = syndrome(FP_ACCESS, NO_CONDITION)
    for_el1 = select((cpu.hcr & TGE) != 0, syndrome(UNKNOWN), told)
    return select(by_el1, for_el1, select(by_el2, told | TO_EL2, 0))


@a64.routine()
def update_fp_ready(cpu: Cpu) -> None:
    """Recompute ``fp_ready``, after changes of the level, of the traps, and of FPCR."""
    plain = (cpu.fpcr & (AHP | FZ | FZ16)) == 0
    cpu.fp_ready = ((fp_trap(cpu) == 0) & plain).zext(8)


MODES = 0 | 3 << 2 | 2 << 4 | 1 << 6
"""The modes of FPCR.RMode (to nearest, up, down, to zero) as `ir.fp` numbers them, 2 bits each."""
RMODE = 22


def set_rounding(cpu: Cpu) -> None:
    """Make FPCR.RMode the host's rounding mode."""
    mode = cpu.fpcr.lsr(RMODE) & 3
    fp.set_rounding((const(MODES, 32).lsr(mode << 1) & 3).trunc(3))


def need_fp(cpu: Cpu) -> Value:
    """Trap an instruction that may not use the registers now. The result says whether FPCR asks for
    anything unusual: fast code tests that once."""
    special: Value = cpu.fp_ready != 1
    with slowly(special):
        cause = fp_trap(cpu)
        with when(cause != 0):
            cpu.trap(cause)
    return special
