"""Sketches of instruction sets on the accelerators: programs run to their end on each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import pytest
from msgspec.structs import replace

from bimetal.accel.interp import InterpAccelerator, InterpCpu
from bimetal.accel.jit import JitAccelerator
from bimetal.accel.reference import Reference, ReferenceCpu
from bimetal.base.clock import RealClock
from bimetal.codegen.policy import stressed
from bimetal.isa.names import INSTRUCTION_SETS
from bimetal.memory.ram import Ram
from bimetal.seam import Accelerator, Exit, Kicked, MemorySlot, Mmio

__all__ = [
    "END", "ENGINES", "SIZE", "SKETCHES", "UNDEFINED", "Sketched", "machines", "sketched",
]  # fmt: skip

SKETCHES = {
    "x86-sketch": "tests.sketches.x86.architecture",
    "ppc64-sketch": "tests.sketches.ppc.architecture",
    "rv64-models": "tests.sketches.rv64_models",
    "asking": "tests.sketches.asking",
}
STRESS = (
    "everything",
    "optimise",
    "everything,forget",
    "optimise,forget,exact",
    "pieces,forget",
    "runs",
)
ENGINES = ("reference", "interp", *STRESS)
"""The reference, the interpreter, and the translator in the modes of `bimetal.codegen.policy`."""

POLLS_OFTEN = 7
"""Instructions between polls, so that each place that a short program comes to is seen."""
SIZE = 0x4_0000
END = 0x4000_0000
"""A program ends by a store to here, where there is no memory."""
UNDEFINED = bytes([0xCC]) * 16
"""What stands behind a program: no instruction of any sketch."""


@dataclass(slots=True)
class Sketched:
    """A vCPU of a sketch on one of `ENGINES`, and its memory from 0 up."""

    engine: str
    cpu: InterpCpu | ReferenceCpu
    ram: Ram

    def __getitem__(self, register: str) -> int:
        return self.cpu.read_register(register)

    def __setitem__(self, register: str, value: int) -> None:
        self.cpu.write_register(register, value)

    def put(self, address: int, data: bytes) -> None:
        """Write guest memory behind the vCPU's back."""
        self.ram.bytes[address : address + len(data)] = data

    def get(self, address: int, size: int) -> bytes:
        """What guest memory holds."""
        return bytes(self.ram.bytes[address : address + size])

    def word(self, address: int, size: int = 8) -> int:
        """A number in guest memory."""
        return int.from_bytes(self.get(address, size), "little")

    def begin(self, program: bytes, at: int, **registers: int) -> None:
        """Reset, with a program in memory."""
        self.ram.bytes[:SIZE] = bytes(SIZE)
        self.cpu.reset()
        self.put(at, program + UNDEFINED)
        for name, value in registers.items():
            self[name] = value
        self["pc"] = at

    def run(self) -> Exit:
        """Run up to an exit that is not a kick."""
        exit_ = self.cpu.run()
        while isinstance(exit_, Kicked):
            exit_ = self.cpu.run()
        return exit_

    def finish(self) -> int:
        """Run to the end of the program; what it stores there."""
        exit_ = self.run()
        assert isinstance(exit_, Mmio), exit_
        assert (exit_.address, exit_.write) == (END, True), exit_
        return exit_.value

    def registers(self, hidden: tuple[str, ...] = ()) -> Mapping[str, object]:
        """All that the architecture has of state."""
        saved = self.cpu.save()["registers"]
        assert isinstance(saved, Mapping)
        return {name: values for name, values in saved.items() if name not in hidden}


@contextmanager
def sketched(isa: str, engine: str, model: str = "", cpus: int = 1) -> Iterator[Sketched]:
    """A vCPU of a sketch on one of `ENGINES`, made for a machine of ``cpus``."""
    with patch.dict(INSTRUCTION_SETS, SKETCHES):
        ram, clock = Ram("ram", SIZE), RealClock()
        accelerator: Accelerator
        if engine == "reference":
            accelerator = Reference(isa, clock=clock, model=model, cpus=cpus)
        elif engine == "interp":
            accelerator = InterpAccelerator(isa, clock=clock, model=model, cpus=cpus)
        else:
            policy = replace(stressed(engine), slice=POLLS_OFTEN)
            accelerator = JitAccelerator(isa, clock=clock, model=model, cpus=cpus, policy=policy)
        try:
            accelerator.set_memory([MemorySlot(0, SIZE, ram.host)])
            cpu = accelerator.add_cpu(0)
            assert isinstance(cpu, InterpCpu | ReferenceCpu)
            yield Sketched(engine, cpu, ram)
        finally:
            accelerator.close()
            ram.close()


def machines(
    isa: str, engines: Sequence[str] = ENGINES, cpus: int = 1
) -> Callable[[], Iterator[Sketched]]:
    """A fixture: a vCPU on each of the engines, for all tests of a module, which reset it."""

    @pytest.fixture(scope="module", params=engines)
    def machine(request: pytest.FixtureRequest) -> Iterator[Sketched]:
        with sketched(isa, request.param, cpus=cpus) as made:
            yield made

    return machine
