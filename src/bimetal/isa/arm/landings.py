"""Branch target identification (FEAT_BTI, D8.4.6): the values of PSTATE.BTYPE, and the instructions
to which an indirect branch into a guarded page may lead.

Guarded pages have a decode mode of their own, because branches in them set other values: words of
that mode have the number 1 above their 32 bits.
"""

from __future__ import annotations

from ...ir.value import Value, const
from ..decoding import DecodeMode, Landing

__all__ = ["BRK", "CALLED", "GUARDED", "JUMPED", "LANDING", "MODES", "PACIASP", "VENEER", "scan"]

VENEER, CALLED, JUMPED = 1, 2, 3
"""By a jump through X16 or X17, as linkers make them, or from an unguarded page; by a call; by any
other jump."""

MODES = (DecodeMode("unguarded"), DecodeMode("guarded", guarded=True))
GUARDED = "00000001"
"""The beginning of rows for guarded pages only."""

BTI, BRK, HLT = 0xD503_241F, 0xD420_0000, 0xD440_0000
PACIASP, PACIBSP = 0xD503_233F, 0xD503_237F


def scan(raw: Value, mode: Value) -> tuple[Value, Value]:
    """Words as they stand in memory, below the decode mode."""
    return raw.zext(40) | mode.zext(40) << 32, const(4, 8)


def _admits(code: Value, kind: Value) -> Value:
    """What SCTLR_ELx has no say in: BTI, by its targets; the signing of X30 at the beginning of a
    function; breakpoints."""
    by_call, by_jump = kind != JUMPED, kind != CALLED
    targets = code & ~0xC0
    bti = (targets == BTI) & ((code[7] & by_jump) | (code[6] & by_call))
    signs = ((code == PACIASP) | (code == PACIBSP)) & by_call
    breaks = ((code & 0xFFE0_001F) == BRK) | ((code & 0xFFE0_001F) == HLT)
    admitted: Value = bti | signs | breaks
    return admitted


LANDING = Landing("btype", _admits)
