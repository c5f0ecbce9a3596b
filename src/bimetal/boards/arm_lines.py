"""Interrupt inputs and outputs of an Arm CPU, and the kinds of interrupts in device trees."""

from __future__ import annotations

__all__ = [
    "FIQ",
    "HOST_TIMER",
    "IRQ",
    "MONITORS",
    "OUTPUT_PPIS",
    "POWER_LINE",
    "PPI",
    "SPI",
    "TIMERS",
    "VFIQ",
    "VIRQ",
]

IRQ, FIQ, VIRQ, VFIQ = range(4)

MONITORS = 23
"""The PPI of the performance monitors."""
OUTPUT_PPIS = (30, 27, 26, 28, MONITORS)
"""The interrupts that a CPU's own outputs lead to: its timers, in the order physical, virtual,
hypervisor's physical and virtual, and its performance monitors (Base System Architecture, 1.0C,
table 4)."""

TIMERS = (29, 30, 27, 26)
"""The PPIs of the generic timers, as device trees and ACPI order them: secure, not secure, virtual,
of the hypervisor."""
HOST_TIMER = 28

POWER_LINE = 3
"""The line of the GPIO at which the power key is."""

SPI, PPI = 0, 1
"""As the binding of Arm's interrupt controllers numbers them."""
