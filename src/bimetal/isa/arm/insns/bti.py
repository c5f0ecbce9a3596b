"""Branch target identification (C6.2.42): instructions that are targets of indirect branches."""

from __future__ import annotations

from ....ir.value import Value, const, select
from ...trace import Cpu, when
from ..hosts import ruling_control
from ..landings import BRK, LANDING, PACIASP
from ..state import a64
from ..syndromes import BRANCH_TARGET, EL0, syndrome

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


for _targets, _text in enumerate(("bti", "bti c", "bti j", "bti jc")):

    @a64.insn(f"1101010100 0 00 011 0010 0100 {_targets:02b}0 11111", _text, name=_text)
    def bti(cpu: Cpu) -> None:
        """Nothing to do: the check was made when it was reached."""
