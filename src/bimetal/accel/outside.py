"""Access to the registers of a CPU that is not running, by their names in the manual.

Most are stored as they are. Others are composed of stored ones, or belong to the engine
(`isa.View`): the routines that read and write these are executed here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from ..ir.access import Access, Space
from ..ir.effects import Callee, Get, If, RoutineCall, Set
from ..ir.evaluate import Machine, Trap, call
from ..isa.contract import LOAD, PAGE, STORE, Hooks
from ..isa.describe import Isa
from .memory import Memory
from .single import Guest

__all__ = ["Onlooker", "SeenMemory", "read_register", "translate", "write_register"]


class SeenMemory:
    """Guest-physical memory for page table walks that must not change it."""

    def __init__(self, memory: Memory):
        self._memory = memory

    def load(self, address: int, access: Access) -> int:
        """Load from guest-physical memory."""
        found = self._memory.find(address, access.size)
        if access.space is not Space.PHYSICAL or found is None:
            raise NotImplementedError(f"a load from {address:#x}, for a register")
        return int.from_bytes(found, "big" if access.big_endian else "little")

    def store(self, address: int, value: int, access: Access) -> None:
        """No view of a register stores to memory: raises NotImplementedError."""
        raise NotImplementedError(f"a store to {address:#x}, for a register")

    def update(self, address: int, access: Access, change: Callable[[int], int]) -> int:
        """The current value; memory is not changed."""
        return self.load(address, access)

    def is_memory(self, address: int, *, write: bool = False) -> bool:
        """Whether an address is in a memory slot, a writable one if ``write``."""
        return self._memory.find(address, 1, write=write) is not None


class Onlooker(Guest):
    """A CPU of another accelerator, seen from outside: its registers, its memory, its time
    (``now_ns``), how many instructions it has ``retired``, and the file of its ``outputs``.

    A register may change what the outputs are. The CPU finds that out when it runs again, and tells
    the board then: so what the board knows of them stays.
    """

    memory: SeenMemory
    now_ns: Callable[[], int]
    retired: int
    outputs: str = ""

    def set(self, file: str, index: int, value: int) -> None:
        if file != self.outputs:
            self.registers.set(file, index, value)

    def leave(self, reason: str, args: Sequence[int]) -> None:
        if reason != "outputs":
            raise NotImplementedError(f"a register that leaves: {reason}")

    def host(self, name: str, args: Sequence[int]) -> int:
        match name:
            case "time_ns":
                return self.now_ns()
            case "instret":
                return self.retired
            case "flush" | "flush_fetch":
                return 0  # the caller that sets a register does this itself
            case "is_memory" | "is_ram":
                return int(self.memory.is_memory(args[0], write=name == "is_ram"))
        raise NotImplementedError(f"{name} of the engine, for a register")


def read_register(isa: Isa, name: str, machine: Machine) -> int:
    """See `Cpu.read_register`."""
    view = isa.views.get(name)
    if view is not None:
        return call(view.read, machine)
    file, index = isa.state.locate(name)
    return machine.get(file.name, index)


def translate(isa: Isa, address: int, write: bool, machine: Machine) -> int | None:
    """See `Translating.translate`."""
    try:
        page = call(_hooks(isa).translate, machine, address, STORE if write else LOAD)
    except Trap:
        return None
    return page & -PAGE | address % PAGE


def write_register(isa: Isa, name: str, value: int, machine: Machine) -> None:
    """See `Cpu.write_register`. Derived registers follow."""
    view, renew = isa.views.get(name), _hooks(isa).renew
    if view is None or name in isa.state.register_names():
        file, index = isa.state.locate(name)
        admitted = file.admit(value)
        if admit := isa.state.admissions.get(file.name):
            admitted = admit(machine.get, index, admitted)
        machine.set(file.name, index, admitted)
        written = frozenset((file.name,))
    elif view.write is None:
        raise ValueError(f"{name} is read-only")
    elif not 0 <= value < 1 << view.read.returns:
        raise OverflowError(f"{value:#x} does not fit in {name} of {view.read.returns} bits")
    else:
        if admit := isa.state.admissions.get(name):
            value = admit(machine.get, 0, value)
        call(view.write, machine, value)
        written = _files(view.write, Set)
    if written & _files(renew, Get):
        call(renew, machine)


@cache
def _hooks(isa: Isa) -> Hooks:
    return Hooks.of(isa)


@cache
def _files(routine: Callee, use: type[Get] | type[Set]) -> frozenset[str]:
    """The register files that a routine reads, or writes, with what it calls."""
    found, routines, blocks = set[str](), [routine], [routine.block()]
    for block in blocks:  # which grows
        for value in block:
            if isinstance(value, use):
                found.add(value.file)
            elif isinstance(value, If):
                blocks += value.branches
            elif isinstance(value, RoutineCall) and value.routine not in routines:
                routines.append(value.routine)
                blocks.append(value.routine.block())
    return frozenset(found)
