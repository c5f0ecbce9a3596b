"""Tags of addresses (D8.8): bits 63 to 56, where TCR_ELx has them ignored."""

from __future__ import annotations

from collections.abc import Callable

from ...ir.value import Value
from ..trace import Cpu
from .tables import at_least

__all__ = ["TAG", "tagged"]

TAG = 0xFF << 56

TBI, TBID = (37, 38, 20), (51, 52, 29)
"""Flags of TCR_ELx: of the low and of the high range, and of the only one."""


def tagged(cpu: Cpu, flag: Callable[[int, int, int], Value], fetches: Value) -> Value:
    """Whether addresses have a tag (TBI), those of instructions too if it ``fetches`` (TBID, which
    comes with pointer authentication). ``flag`` gives that of three flags which counts."""
    only_data = flag(*TBID) & (at_least(cpu, "APA", 1) | at_least(cpu, "API", 1))
    return flag(*TBI) & ~(only_data & fetches)
