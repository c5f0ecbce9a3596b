"""Canonical addresses (volume 1, 3.3.7.1)."""

from __future__ import annotations

from ...ir.value import Value, select
from ..trace import Cpu
from .control import LA57

__all__ = ["non_canonical"]


def non_canonical(cpu: Cpu, address: Value) -> Value:
    """Whether an address is not one of 48 bits, or of 57 with five levels of tables."""
    beyond = select((cpu.cr4 & LA57) != 0, address.asr(56), address.asr(47))
    wrong: Value = ((beyond + 1) & ~1) != 0
    return wrong
