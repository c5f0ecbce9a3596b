"""CPUs and memory of a machine, by name and by address, for programs that look into it."""

from __future__ import annotations

from bimetal.machine.runner import Runner
from bimetal.machine.vcpu import Vcpu

__all__ = ["CpuView", "MemoryView"]


class CpuView:
    """One CPU: ``cpu.pc`` and ``cpu["a0"]`` read a register, ``cpu["a0"] = 1`` sets one.

    The machine stands still for the moment that takes. KeyError, or AttributeError for the first
    form, for a register that the CPU does not have.
    """

    def __init__(self, runner: Runner, vcpu: Vcpu):
        self._runner, self._vcpu = runner, vcpu

    @property
    def index(self) -> int:
        """The number of the CPU."""
        return self._vcpu.index

    @property
    def registers(self) -> tuple[str, ...]:
        """The names of the registers, in the manual's order."""
        return tuple(self._vcpu.cpu.register_names)

    def __getitem__(self, name: str) -> int:
        with self._runner.world.hold():
            return self._vcpu.cpu.read_register(name)

    def __setitem__(self, name: str, value: int) -> None:
        with self._runner.world.hold():
            self._vcpu.cpu.write_register(name, value)

    def __getattr__(self, name: str) -> int:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(f"CPU {self.index} has no register {name!r}") from error

    def __repr__(self) -> str:
        return f"<CPU {self.index}>"


class MemoryView:
    """Guest-physical memory, as devices reach it."""

    def __init__(self, runner: Runner):
        self._runner = runner

    def read(self, address: int, length: int) -> bytes:
        """A copy of ``length`` bytes. Raises `BadAddress` unless all of it is memory."""
        with self._runner.world.lock:
            return self._runner.chassis.space.read(address, length)

    def write(self, address: int, data: bytes) -> None:
        """Store ``data``, read-only memory included; the machine stands still for the moment that
        takes, and CPUs forget what they derived from the old contents. Raises `BadAddress`."""
        with self._runner.world.hold():
            self._runner.chassis.space.load(address, data)
            for vcpu in self._runner.vcpus:
                vcpu.cpu.flush()
