"""The CPUs as firmware interfaces act on them: starting, stopping, interrupting, fencing."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bimetal.machine.gate import VcpuGate
from bimetal.machine.vcpu import Vcpu
from bimetal.seam import Cpu, Suspendable

__all__ = ["CpuControl"]


class CpuControl:
    """All CPUs of a machine by number. Call with the machine's lock held."""

    def __init__(self, gate: VcpuGate, vcpus: list[Vcpu]):
        self._gate, self._vcpus = gate, vcpus

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._vcpus)

    def is_parked(self, index: int) -> bool:
        """Whether a CPU waits to be started."""
        return self._vcpus[index].parked

    def is_starting(self, index: int) -> bool:
        """Whether a CPU was told to start and has not started yet."""
        return self._vcpus[index].starting

    def is_suspended(self, index: int) -> bool:
        """Whether a CPU waits for an interrupt because firmware has suspended it."""
        cpu = self._vcpus[index].cpu
        return isinstance(cpu, Suspendable) and cpu.suspended

    def suspend(self, index: int) -> None:
        """Have a CPU that is not running wait for an interrupt; some accelerators do not wait."""
        cpu = self._vcpus[index].cpu
        if isinstance(cpu, Suspendable):
            cpu.suspend()

    def start(self, index: int, enter: Callable[[Cpu], object]) -> None:
        """Start a CPU: it is reset, then ``enter`` sets its registers."""
        vcpu = self._vcpus[index]
        vcpu.starting, vcpu.parked = True, False
        vcpu.errands.append(lambda: self._begin(vcpu, enter))
        vcpu.call()
        self._gate.stir()

    def park(self, index: int) -> None:
        """Stop a CPU until it is started, once it has finished what it is doing."""
        vcpu = self._vcpus[index]
        vcpu.parked = True
        vcpu.call()

    def pulse(self, index: int, line: int) -> None:
        """Raise an interrupt line that the guest itself lowers."""
        self._vcpus[index].pulse(line)

    def registers(self, index: int) -> Cpu:
        """A CPU that is not running, because its call is being answered."""
        return self._vcpus[index].cpu

    def fence(self, caller: int, others: Iterable[int], errand: Callable[[Cpu], None]) -> None:
        """Have ``errand`` done between two instructions of each of ``others``: before this returns
        or, for those that do not run, before they run again. ``caller`` may be among them."""

        def run_errand(vcpu: Vcpu) -> None:
            errand(vcpu.cpu)

        targets = [self._vcpus[number] for number in others]
        self._gate.fence(self._vcpus[caller], targets, run_errand)

    @staticmethod
    def _begin(vcpu: Vcpu, enter: Callable[[Cpu], object]) -> None:
        vcpu.starting = False
        vcpu.reset()
        enter(vcpu.cpu)
