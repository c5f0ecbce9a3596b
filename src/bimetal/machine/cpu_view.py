"""A CPU of a machine, by the names of its registers, for programs that look into it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from operator import index as integer

from bimetal.base.near import did_you_mean
from bimetal.machine.runner import Runner
from bimetal.machine.vcpu import Vcpu

__all__ = ["CpuView"]

PROGRAM_COUNTERS = ("pc", "rip")


class CpuView:
    """One CPU: ``cpu.pc`` and ``cpu["pc"]`` read a register, and may be assigned to.

    Registers have the manual's names, and are read and written with the rights of the most
    privileged mode. The machine is halted for the moment that takes. Values are unsigned integers.

    Raises KeyError, or AttributeError for the first form, for a register that the CPU does not
    have; OverflowError for a value that does not fit, ValueError for a reserved one and for a
    register that cannot be set; `BimetalError` once the machine is closed.
    """

    __slots__ = ("_runner", "_vcpu")
    _runner: Runner
    _vcpu: Vcpu

    def __init__(self, runner: Runner, vcpu: Vcpu):
        object.__setattr__(self, "_runner", runner)
        object.__setattr__(self, "_vcpu", vcpu)

    @property
    def index(self) -> int:
        """The number of the CPU."""
        return self._vcpu.index

    @property
    def thread_id(self) -> int:
        """The host's number of the thread that runs the CPU, 0 before the start."""
        return self._vcpu.thread_id

    @property
    def registers(self) -> tuple[str, ...]:
        """The names of the registers, in the manual's order."""
        return tuple(self._vcpu.cpu.register_names)

    def __getitem__(self, name: str) -> int:
        with self._named(name):
            return self._vcpu.cpu.read_register(name)

    def __setitem__(self, name: str, value: int) -> None:
        with self._named(name):
            self._vcpu.cpu.write_register(name, integer(value))

    def __contains__(self, name: object) -> bool:
        return name in self.registers

    def __iter__(self) -> Iterator[str]:
        return iter(self.registers)

    def __getattr__(self, name: str) -> int:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(error.args[0], name=name, obj=self) from None

    def __setattr__(self, name: str, value: int) -> None:
        if hasattr(type(self), name):
            raise AttributeError(f"{name} of a CPU cannot be set", name=name, obj=self)
        try:
            self[name] = value
        except KeyError as error:
            raise AttributeError(error.args[0], name=name, obj=self) from None

    def __dir__(self) -> list[str]:
        registers = filter(str.isidentifier, self.registers)
        return sorted({*object.__dir__(self), *registers})

    def _ipython_key_completions_(self) -> list[str]:
        return list(self.registers)

    def __repr__(self) -> str:
        if self._runner.closed:
            return f"<CPU {self.index} of a closed machine>"
        state = ", not started" if self._vcpu.parked else ""
        for name in PROGRAM_COUNTERS:
            if name in self:
                return f"<CPU {self.index}: {name} {self[name]:#x}{state}>"
        return f"<CPU {self.index}{state}>"

    @contextmanager
    def _named(self, name: str) -> Iterator[None]:
        """Halt the machine; a KeyError inside is replaced by one that suggests similar names."""
        if not isinstance(name, str):
            raise KeyError(f"registers have names, and no {name!r}")
        with self._runner.held():
            try:
                yield
            except KeyError:
                hint = did_you_mean(name, self.registers)
                what = f"CPU {self.index} has no register {name!r}" + f": {hint}" * bool(hint)
                raise KeyError(what) from None
