"""The check of indirect branches into guarded pages (FEAT_BTI, D8.4.6)."""

from __future__ import annotations

from ...ir.value import Value, const, select
from ..trace import Cpu, when
from .hosts import ruling_control
from .landings import BRK, LANDING, PACIASP
from .state import a64
from .syndromes import BRANCH_TARGET, EL0, syndrome

__all__ = ["landed"]

BT0, BT1 = 35, 36
"""Bits of SCTLR_ELx: PACIASP and PACIBSP are not targets of jumps, at EL0 and at ELx."""


@a64.routine(code=64)
def landed(cpu: Cpu, code: Value) -> None:
    """See `Hooks.landed`."""
    kind, word = cpu.btype, code.trunc(32)
    control = ruling_control(cpu)
    strict = select(cpu.el == EL0, control[BT0], control[BT1])
    signs = ((word & ~0x40) == PACIASP) & (strict == 0)
    with when(~(LANDING.admits(word, kind) | signs)):
        cpu.trap(syndrome(BRANCH_TARGET, kind.zext(64)))
    with when((word & 0xFFE0_001F) != BRK):  # whose handler is told
        cpu.btype = const(0, 8)
