"""Capabilities that functions have beside their interrupts: power management and PCI Express.

Sources: PCI Bus Power Management Interface Specification 1.2, chapter 3; PCI Express Base
Specification 5.0, chapter 7.5.3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from bimetal.devices.pci.config import Capability
from bimetal.devices.register import Reg, Value

__all__ = [
    "LINK",
    "EndpointCapability",
    "ExpressCapability",
    "IntegratedCapability",
    "PowerManagement",
]

VERSION_3, NO_SOFT_RESET = 3, 1 << 3
LINK = 1 | 1 << 4
"""A link of one lane at 2.5 GT/s, as it could be and as it is."""
FUNCTION_RESET, ROLE_BASED_ERRORS = 1 << 28, 1 << 15


class PowerManagement(Capability):
    """States of power D0 and D3hot; the function keeps its state in both. ``changed`` hears of
    another."""

    number = 0x01
    mmio_size = 8

    PMC = Reg(0x02, 2, writable=0)
    PMCSR = Reg(0x04, 2, writable=3, STATE=(1, 0))

    fixed = ("_changed",)

    def __init__(self, changed: Callable[[], None]):
        self._changed = changed
        super().__init__()
        self.reset()

    def reset(self) -> None:
        super().reset()
        self.PMC, self.PMCSR = VERSION_3, NO_SOFT_RESET

    def w_PMCSR(self, written: Value) -> None:
        self._changed()

    @property
    def awake(self) -> bool:
        """Whether the state is D0."""
        return self.PMCSR.STATE == 0


class ExpressCapability(Capability):
    """PCI Express, version 2. ``function_reset`` carries out a function level reset (6.6.2)."""

    number = 0x10
    mmio_size = 0x3C
    port_type = 0

    FLAGS = Reg(0x02, 2, writable=0)
    DEVICE_CAPABILITIES = Reg(0x04, 4, writable=0)
    DEVICE_CONTROL = Reg(0x08, 2, writable=0x7FFF, RESET=15)
    DEVICE_STATUS = Reg(0x0A, 2, writable=0)
    LINK_CAPABILITIES = Reg(0x0C, 4, writable=0)
    LINK_CONTROL = Reg(0x10, 2, writable=0)
    LINK_STATUS = Reg(0x12, 2, writable=0)
    DEVICE_CAPABILITIES_2 = Reg(0x24, 4, writable=0)
    DEVICE_CONTROL_2 = Reg(0x28, 2)

    fixed: ClassVar[tuple[str, ...]] = ("_function_reset",)

    def __init__(self, function_reset: Callable[[], None] | None = None):
        self._function_reset = function_reset
        super().__init__()
        self.reset()

    def reset(self) -> None:
        super().reset()
        self.FLAGS = 2 | self.port_type << 4
        self.DEVICE_CAPABILITIES = ROLE_BASED_ERRORS | (
            FUNCTION_RESET if self._function_reset else 0
        )

    def w_DEVICE_CONTROL(self, written: Value) -> None:
        if written.RESET and self._function_reset is not None:
            self._function_reset()


class IntegratedCapability(ExpressCapability):
    """PCI Express of an endpoint in the root complex, which has no link."""

    port_type = 9


class EndpointCapability(ExpressCapability):
    """PCI Express of an endpoint behind a port."""

    def reset(self) -> None:
        super().reset()
        self.LINK_CAPABILITIES = self.LINK_STATUS = LINK
