"""Interrupt inputs and outputs of an Arm CPU, and the kinds of interrupts in device trees."""

from __future__ import annotations

__all__ = ["FIQ", "IRQ", "PPI", "SPI", "TIMER_PPIS", "VFIQ", "VIRQ"]

IRQ, FIQ, VIRQ, VFIQ = range(4)

TIMER_PPIS = (30, 27, 26, 28)
"""The interrupts that a CPU's own outputs lead to: its timers, in the order physical, virtual,
hypervisor's physical and virtual (Base System Architecture, 1.0C, table 4)."""

SPI, PPI = 0, 1
"""As the binding of Arm's interrupt controllers numbers them."""
