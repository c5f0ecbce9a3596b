"""The harts of a machine, as the SBI acts on them."""

from __future__ import annotations

from collections.abc import Iterable

from bimetal.boards.riscv_lines import SSIP
from bimetal.firmware.sbi import HartState, ResetType
from bimetal.machine.chassis import Chassis
from bimetal.machine.cpus import CpuControl
from bimetal.machine.program_memory import ProgramMemory
from bimetal.memory.space import BadAddress
from bimetal.seam import Cpu, Shutdown, ShutdownKind

__all__ = ["SUPERVISOR", "BoardHarts", "enter_supervisor"]

SUPERVISOR = 1
SIE = 1 << 1
WORD_BYTES = 8


def enter_supervisor(cpu: Cpu, address: int, argument: int) -> None:
    """Let ``cpu``, whose address translation and interrupts are off, begin at ``address`` in
    S-mode, with its hart number in a0 and ``argument`` in a1 (SBI 2.0, 9.1)."""
    for name, value in (
        ("priv", SUPERVISOR),
        ("pc", address),
        ("a0", cpu.index),
        ("a1", argument),
    ):
        cpu.write_register(name, value)


class BoardHarts:
    """Implements `bimetal.firmware.sbi.Harts` by the ``cpus`` of a chassis."""

    def __init__(self, chassis: Chassis, cpus: CpuControl):
        self._chassis, self._cpus = chassis, cpus
        self.count = chassis.config.cpus

    def state(self, hart: int) -> HartState:
        """See `Harts.state`."""
        if self._cpus.is_starting(hart):
            return HartState.START_PENDING
        if self._cpus.is_parked(hart):
            return HartState.STOPPED
        return HartState.SUSPENDED if self._cpus.is_suspended(hart) else HartState.STARTED

    def start(self, hart: int, address: int, argument: int) -> None:
        """See `Harts.start`."""
        self._cpus.start(hart, lambda cpu: enter_supervisor(cpu, address, argument))

    def stop(self, hart: int) -> None:
        """See `Harts.stop`."""
        self._cpus.park(hart)

    def resume(self, hart: int, address: int, argument: int) -> None:
        """See `Harts.resume`. What is pending and enabled stays so: it is what the hart is to wake
        for."""
        cpu = self._cpus.registers(hart)
        cpu.write_register("sstatus", cpu.read_register("sstatus") & ~SIE)
        cpu.write_register("satp", 0)
        enter_supervisor(cpu, address, argument)

    def suspend(self, hart: int) -> None:
        """See `Harts.suspend`."""
        self._cpus.suspend(hart)

    def interrupt(self, hart: int) -> None:
        """See `Harts.interrupt`."""
        self._cpus.pulse(hart, SSIP)

    def clear_interrupt(self, hart: int) -> bool:
        """See `Harts.clear_interrupt`."""
        cpu = self._cpus.registers(hart)
        pending = cpu.read_register("sip") >> SSIP & 1
        cpu.write_register("sip", 0)  # no other bit of it is writable
        return bool(pending)

    def word(self, hart: int, address: int) -> int | None:
        """See `Harts.word`."""
        memory = ProgramMemory(self._chassis.space, self._cpus.registers(hart))
        try:
            return int.from_bytes(memory.read(address, WORD_BYTES), "little")
        except BadAddress:
            return None

    def set_timer(self, hart: int, ticks: int) -> None:
        """See `Harts.set_timer`. The hart has Sstc, which clears and raises the interrupt."""
        self._cpus.registers(hart).write_register("stimecmp", ticks)

    def fence(self, caller: int, harts: Iterable[int], *, code: bool) -> None:
        """See `Harts.fence`. A CPU forgets both kinds of translation together."""
        self._cpus.fence(caller, harts, lambda cpu: cpu.flush())

    def reset(self, kind: ResetType, failed: bool) -> None:
        """See `Harts.reset`."""
        if kind is ResetType.SHUTDOWN:
            self._chassis.power(Shutdown(ShutdownKind.POWER_OFF, int(failed)))
        else:
            self._chassis.power(Shutdown(ShutdownKind.RESET))
