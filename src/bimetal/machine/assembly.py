"""What a machine is made of: a board with its devices, and CPUs of an accelerator."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from bimetal.accel.choose import check_name, create
from bimetal.base.clock import Countdown
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.machine.board import Board
from bimetal.machine.chassis import Boot, Chassis
from bimetal.machine.gate import VcpuGate
from bimetal.machine.result import Ending, Result
from bimetal.machine.runner import Runner, closed_error
from bimetal.machine.service import Service
from bimetal.seam import Accelerator

__all__ = ["Assembly", "Engine"]


@dataclass(frozen=True)
class Engine:
    """The accelerator that is wanted, by name or itself; of which ``model`` its CPUs are to be, and
    whether it goes on in the ``background``, see `Machine`. Raises `BimetalError` if there is none
    such.
    """

    accel: str | Accelerator
    model: str
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
        """What was asked for."""
        return self.accel if isinstance(self.accel, str) else self.accel.name

    def make(self, isa: str, boot: Boot, chassis: Chassis) -> Accelerator:
        """The accelerator for CPUs of ``chassis`` that start as ``boot`` says. Raises
        `BimetalError` if it cannot run such a machine here."""
        if not isinstance(self.accel, str):
            return self.accel
        return create(
            self.accel,
            isa,
            clock=chassis.clock,
            firmware_calls=boot.firmware_calls,
            hypervisor=boot.hypervisor,
            controller=bool(chassis.registers),
            cpus=chassis.config.cpus,
            model=self.model,
            background=self.background,
        )


class Assembly:
    """Puts a machine together when that is first needed, in two steps: a ``chassis``, which is
    enough to look at the board, and a ``runner``, which has CPUs. They are None until then.

    Each is made once, whichever thread comes first, and nothing once it is ``closed``.
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
        self.chassis: Chassis | None = None
        self.runner: Runner | None = None
        self.closed = False
        self._new_chassis, self._gate, self._service = new_chassis, gate, service
        self._building = threading.Lock()

    @property
    def accel(self) -> str:
        """The name of the accelerator: the one asked for, until there is one."""
        return self.engine.name if self.runner is None else self.runner.accelerator.name

    def furnished(self) -> Chassis:
        """The board with its devices."""
        with self._building:
            return self._furnished()

    def built(self) -> Runner:
        """The machine with its CPUs."""
        with self._building:
            chassis = self._furnished()
            if self.runner is None:
                self.runner = self._with_cpus(chassis)
            return self.runner

    def boot(self) -> Boot:
        """How the CPUs start."""
        return _boot(self.board, self.furnished())

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

    def _furnished(self) -> Chassis:
        if self.closed:
            raise closed_error()
        if self.chassis is None:
            chassis = self._new_chassis()
            try:
                self.board.build(chassis)
            except BaseException:
                chassis.close()
                raise
            self.chassis = chassis
        return self.chassis

    def _with_cpus(self, chassis: Chassis) -> Runner:
        boot = _boot(self.board, chassis)
        accel = self.engine.make(self.board.isa, boot, chassis)
        try:
            return Runner(chassis, boot, accel, self._gate, self._service)
        except BaseException:
            accel.close()
            raise


def _boot(board: Board, chassis: Chassis) -> Boot:
    if chassis.boot is None:
        raise ValueError(f"the board {board.name} does not say how its CPUs start")
    return chassis.boot
