"""How the run of a machine ended."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from bimetal.base.errors import ExitCode
from bimetal.seam import CpuFault, Shutdown, ShutdownKind

__all__ = ["Ending", "Result"]


class Ending(Enum):
    """Who ended the run, and how."""

    POWER_OFF = "power off"
    RESET = "reset"
    PANIC = "panic"
    STOPPED = "stopped from outside"
    FAULT = "CPU fault"


class Result(Struct, frozen=True):
    """``code`` is what the command line exits with: the guest's own code after a power-off.

    ``message`` and ``details`` explain a fault.
    """

    ending: Ending
    code: int = 0
    message: str = ""
    details: str = ""

    def __str__(self) -> str:
        return f"{self.ending.value}, code {self.code}" + (
            f": {self.message}" if self.message else ""
        )

    @staticmethod
    def of_shutdown(shutdown: Shutdown) -> Result:
        """The guest ended its run."""
        code = shutdown.code & 0xFF or int(shutdown.code != 0)
        match shutdown.kind:
            case ShutdownKind.POWER_OFF:
                return Result(Ending.POWER_OFF, code)
            case ShutdownKind.RESET:
                return Result(Ending.RESET, code)
            case ShutdownKind.PANIC:
                return Result(Ending.PANIC, code or ExitCode.FAILURE)

    @staticmethod
    def of_fault(cpu: int, fault: CpuFault) -> Result:
        """A CPU could not go on."""
        return Result(Ending.FAULT, ExitCode.INTERNAL, f"CPU {cpu}: {fault.message}", fault.details)
