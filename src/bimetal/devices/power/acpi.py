"""The power registers of a hardware-reduced ACPI machine: sleep control, sleep status, reset.

Source: ACPI Specification 6.5, section 4.8.4.2 (sleep registers) and 4.8.3.6 (reset register).
"""

from __future__ import annotations

from bimetal.base.errors import GuestError
from bimetal.devices.device import Device
from bimetal.devices.output import Out
from bimetal.devices.register import Reg, Value
from bimetal.memory.access import Access
from bimetal.seam import Shutdown, ShutdownKind

__all__ = ["POWER_OFF", "RESET", "AcpiPower"]

POWER_OFF = 5
"""The SLP_TYP that powers off: the board's ``\\_S5`` says the same."""
RESET = 1


class AcpiPower(Device):
    """Three ports; ``power`` says how the guest ends its run."""

    kind = "acpi-power"
    mmio_size = 3
    access = Access(width=1)

    SLEEP_CONTROL = Reg(0, size=1, writable=0, SLP_TYP=(4, 2), SLP_EN=5, doc="write-only")
    SLEEP_STATUS = Reg(1, size=1, writable=0, WAK_STS=7, doc="this machine never wakes up")
    RESET = Reg(2, size=1, writable=0, doc="1 resets")

    power = Out(Shutdown)

    def w_SLEEP_CONTROL(self, written: Value) -> None:
        if not written.SLP_EN:
            return
        if written.SLP_TYP != POWER_OFF:
            raise GuestError(f"there is no sleep state of type {written.SLP_TYP}")
        self.power(Shutdown(ShutdownKind.POWER_OFF))

    def w_RESET(self, written: Value) -> None:
        if written == RESET:
            self.power(Shutdown(ShutdownKind.RESET))
