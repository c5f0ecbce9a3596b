"""The SiFive test finisher: one register that ends or resets the machine.

A device tree calls it a ``syscon``, which Linux's ``syscon-poweroff`` and ``syscon-reboot`` write.
On boards that have other ways to switch off it is there for the code, which those cannot carry. The
code of a reset is ours: it counts where a reset ends the run.
"""

from __future__ import annotations

from bimetal.base.errors import GuestError
from bimetal.devices.device import Device
from bimetal.devices.output import Out
from bimetal.devices.register import Reg, Value
from bimetal.memory.access import Access
from bimetal.seam import Shutdown, ShutdownKind

__all__ = ["FAIL", "PASS", "RESET", "SifiveTest"]

FAIL, PASS, RESET = 0x3333, 0x5555, 0x7777


class SifiveTest(Device):
    """SiFive test finisher; ``power`` says how the guest ends its run."""

    kind = "test"
    compatible = ("sifive,test1", "sifive,test0", "syscon")
    acpi = ("PRP0001", "TST")
    access = Access(sizes=(2, 4))

    FINISHER = Reg(0x0, writable=0, STATUS=(15, 0), CODE=(31, 16), doc="write-only")

    power = Out(Shutdown)

    def w_FINISHER(self, written: Value) -> None:
        match written.STATUS:
            case 0x3333:
                self.power(Shutdown(ShutdownKind.POWER_OFF, written.CODE))
            case 0x5555:
                self.power(Shutdown(ShutdownKind.POWER_OFF, 0))
            case 0x7777:
                self.power(Shutdown(ShutdownKind.RESET, written.CODE))
            case unknown:
                raise GuestError(f"FINISHER has no status {unknown:#x}")
