"""The CPUs of a machine, as PSCI acts on them."""

from __future__ import annotations

from bimetal.firmware.psci import Power, Reset
from bimetal.machine.chassis import Chassis
from bimetal.machine.cpus import CpuControl
from bimetal.seam import Cpu, Shutdown, ShutdownKind

__all__ = ["BoardCpus", "affinity", "begin"]

CLUSTER = 16
"""CPUs of a cluster: as many as one write of ICC_SGI1R_EL1 reaches (IHI 0069H, 12.2.20)."""
FIELDS = 0xFF_00FF_FFFF


def affinity(cpu: int) -> int:
    """The affinity fields of the MPIDR_EL1 of a CPU (DDI 0487, D17.2.101)."""
    cluster, number = divmod(cpu, CLUSTER)
    return cluster << 8 | number


def begin(cpu: Cpu, address: int, argument: int) -> None:
    """Let ``cpu``, which was just reset, begin at ``address`` with ``argument`` in x0."""
    cpu.write_register("pc", address)
    cpu.write_register("x0", argument)


class BoardCpus:
    """Implements `bimetal.firmware.psci.Cpus` by the ``cpus`` of a chassis."""

    def __init__(self, chassis: Chassis, cpus: CpuControl):
        self._chassis, self._cpus = chassis, cpus
        self._numbers = {affinity(cpu): cpu for cpu in range(chassis.config.cpus)}

    def number(self, affinity: int) -> int | None:
        """See `Cpus.number`."""
        return self._numbers.get(affinity & FIELDS)

    def power(self, cpu: int) -> Power:
        """See `Cpus.power`."""
        if self._cpus.is_starting(cpu):
            return Power.ON_PENDING
        return Power.OFF if self._cpus.is_parked(cpu) else Power.ON

    def start(self, cpu: int, address: int, argument: int) -> None:
        """See `Cpus.start`."""
        self._cpus.start(cpu, lambda target: begin(target, address, argument))

    def stop(self, cpu: int) -> None:
        """See `Cpus.stop`."""
        self._cpus.park(cpu)

    def suspend(self, cpu: int) -> None:
        """See `Cpus.suspend`."""
        self._cpus.suspend(cpu)

    def reset(self, kind: Reset) -> None:
        """See `Cpus.reset`."""
        off = kind is Reset.OFF
        self._chassis.power(Shutdown(ShutdownKind.POWER_OFF if off else ShutdownKind.RESET))
