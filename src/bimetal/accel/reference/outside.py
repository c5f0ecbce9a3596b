"""Registers of a CPU that does not run, by the names that the manual has for them.

Most are stored as they are. Others are made of stored ones, or belong to the engine (`isa.View`):
what reading and writing them means is executed here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...ir.evaluate import Machine, call
from ...isa.describe import Isa
from .single import Guest

__all__ = ["Onlooker", "read_register", "write_register"]


@dataclass(slots=True)
class Onlooker(Guest):
    """A CPU of another accelerator that ``now_ns`` and ``retired`` instructions were asked of."""

    now_ns: Callable[[], int]
    retired: int

    def host(self, name: str, args: Sequence[int]) -> int:
        match name:
            case "time_ns":
                return self.now_ns()
            case "instret":
                return self.retired
            case "flush":
                return 0  # whoever sets a register from outside sees to that
        raise NotImplementedError(f"{name} of the engine, for a register")


def read_register(isa: Isa, name: str, machine: Machine) -> int:
    """See `Cpu.read_register`."""
    view = isa.views.get(name)
    if view is not None:
        return call(view.read, machine)
    file, index = isa.state.locate(name)
    return machine.get(file.name, index)


def write_register(isa: Isa, name: str, value: int, machine: Machine) -> None:
    """See `Cpu.write_register`. What follows from registers is for the caller to renew."""
    view = isa.views.get(name)
    if view is None or name in isa.state.register_names():
        file, index = isa.state.locate(name)
        machine.set(file.name, index, file.admit(value))
        return
    if view.write is None:
        raise ValueError(f"{name} is read-only")
    if not 0 <= value < 1 << view.read.returns:
        raise OverflowError(f"{value:#x} does not fit in {name} of {view.read.returns} bits")
    call(view.write, machine, value)
