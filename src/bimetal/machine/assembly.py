"""The parts of a machine: a board with its devices, and the CPUs of an accelerator."""

from __future__ import annotations

import threading
from collections.abc import Callable

from msgspec import Struct

from bimetal.accel.choose import (
    Described,
    check_model,
    check_name,
    create,
    described,
    has_semihosting,
    prepare,
)
from bimetal.base.clock import Countdown
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.machine.board import Board
from bimetal.machine.chassis import Chassis
from bimetal.machine.gate import VcpuGate
from bimetal.machine.hardware import Hardware
from bimetal.machine.result import Ending, Result
from bimetal.machine.runner import Runner, closed_error
from bimetal.machine.service import Service
from bimetal.seam import Accelerator

__all__ = ["Assembly", "Engine"]


class Engine(Struct, frozen=True):
    """The requested accelerator, as a name or an object, the ``model`` of its CPUs and their
    number, and whether it compiles in the ``background`` after the end, see `Machine`. Raises
    `BimetalError` if there is no such accelerator.
    """

    accel: str | Accelerator
    model: str
    cpus: int
    background: bool

    def __post_init__(self) -> None:
        if isinstance(self.accel, str):
            check_name(self.accel)
        elif self.model:
            raise BimetalError(
                f"the accelerator {self.accel.name} is there and has its processor model",
                "leave cpu_model away, or name an accelerator",
                ExitCode.USAGE,
            )

    @property
    def name(self) -> str:
        """The requested name."""
        return self.accel if isinstance(self.accel, str) else self.accel.name

    def check(self, isa: str) -> None:
        """Raise `BimetalError` if CPUs of ``isa`` cannot be of the model."""
        if isinstance(self.accel, str):
            check_model(self.accel, isa, self.model)

    def prepare(self, isa: str) -> None:
        """Begin to load in a thread of its own what `make` is going to need."""
        if isinstance(self.accel, str):
            task = threading.Thread(
                target=prepare, args=(self.accel, isa, self.cpus), name="bimetal-engine"
            )
            task.start()

    def described(self, isa: str) -> Described:
        """The description of the CPUs that the board gets."""
        return described(self.accel if isinstance(self.accel, str) else "", isa, self.model)

    def make(self, isa: str, hardware: Hardware) -> Accelerator:
        """The accelerator for the CPUs of ``hardware``. Raises `BimetalError` if it cannot run such
        a machine here."""
        if not isinstance(self.accel, str):
            return self.accel
        return create(
            self.accel,
            isa,
            clock=hardware.clock,
            firmware_calls=hardware.boot.firmware_calls,
            hypervisor=hardware.boot.hypervisor,
            controller=bool(hardware.registers),
            cpus=self.cpus,
            model=self.model,
            background=self.background,
        )


class Assembly:
    """Builds a machine when it is first needed, in two steps: its ``hardware``, which is enough to
    examine the board, and a ``runner``, which has CPUs, and programs in its memory. They are None
    until then.

    Each is built once, whichever thread needs it first, and never after it is ``closed``.
    """

    def __init__(
        self,
        board: Board,
        engine: Engine,
        new_chassis: Callable[[], Chassis],
        gate: VcpuGate,
        service: Service,
    ):
        self.board, self.engine = board, engine
        self.hardware: Hardware | None = None
        self.runner: Runner | None = None
        self.closed = False
        self.restoring = False
        """Whether the programs come from a snapshot instead of files."""
        self._new_chassis, self._gate, self._service = new_chassis, gate, service
        self._building = threading.Lock()

    @property
    def accel(self) -> str:
        """The name of the accelerator: the one asked for, until there is one."""
        return self.engine.name if self.runner is None else self.runner.accelerator.name

    def furnished(self) -> Hardware:
        """The board with its devices."""
        with self._building:
            return self._furnished()

    def built(self) -> Runner:
        """The machine with its CPUs."""
        with self._building:
            if self.runner is None and not self.closed:
                self.engine.prepare(self.board.isa)
            hardware = self._furnished()
            if self.runner is None:
                self.runner = self._with_cpus(hardware)
            return self.runner

    def end(self, countdown: Countdown) -> bool:
        """End the run and the threads of its CPUs; False if there was not enough time."""
        if not self._gate.lock.acquire(timeout=countdown.left):
            return False
        try:
            if self.runner is not None:
                self.runner.closed = self.closed
            self._gate.end(Result(Ending.STOPPED))
        finally:
            self._gate.lock.release()
        vcpus = self.runner.vcpus if self.runner is not None else []
        return all(vcpu.join(countdown.left) for vcpu in vcpus)

    def _furnished(self) -> Hardware:
        if self.closed:
            raise closed_error()
        if self.hardware is None:
            chassis = self._new_chassis()
            try:
                self.board.build(chassis)
                self.hardware = chassis.finish()
            except BaseException:
                chassis.abandon()
                raise
        return self.hardware

    def _with_cpus(self, hardware: Hardware) -> Runner:
        if hardware.config.semihosting and not has_semihosting(self.board.isa):
            raise BimetalError(
                f"semihosting is not there for {self.board.isa}, which {self.board.name} has",
                "leave it out, or choose a board of another instruction set",
                ExitCode.UNAVAILABLE,
            )
        if hardware.config.runs and not self.restoring:
            hardware.boot.load()  # before an engine is made, which may take a minute
        accel = self.engine.make(self.board.isa, hardware)
        try:
            return Runner(hardware, accel, self._gate, self._service)
        except BaseException:
            accel.close()
            raise
