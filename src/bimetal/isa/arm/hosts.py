"""Hosts at EL2 with an EL0 of their own (VHE, D5.1.5), and which registers control translation."""

from __future__ import annotations

from ...ir.value import Value, const, select
from ..trace import Cpu
from .syndromes import E2H, EL0, EL1, EL2, TGE

__all__ = ["hosted", "hosts", "ruled_by_el2", "ruling_control", "ruling_level"]


def hosted(cpu: Cpu) -> Value:
    """Whether EL0 belongs to a host at EL2 (HCR_EL2.E2H and TGE)."""
    both: Value = cpu.hcr & (E2H | TGE)
    return both == E2H | TGE


def hosts(cpu: Cpu) -> Value:
    """Whether a host at EL2 executes, or what it runs at EL0: the names of EL1's timers are then
    those of EL2's (D11.2.4)."""
    value: Value = ((cpu.el == EL2) & ((cpu.hcr & E2H) != 0)) | ((cpu.el == EL0) & hosted(cpu))
    return value


def ruled_by_el2(cpu: Cpu, level: Value) -> Value:
    """Whether the registers of EL2 control the translation of an exception level: its own, and that
    of a host's EL0."""
    rules: Value = (level == EL2) | ((level == EL0) & hosted(cpu))
    return rules


def ruling_level(cpu: Cpu, level: Value) -> Value:
    """The exception level whose registers control the translation of another, as an index."""
    return select(ruled_by_el2(cpu, level), const(EL2, 2), EL1)


def ruling_control(cpu: Cpu) -> Value:
    """SCTLR_ELx of the exception level whose registers control the current one."""
    control: Value = cpu.sctlr_el[ruling_level(cpu, cpu.el)]
    return control
