"""What a machine consists of."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bimetal.backends.chars.protocol import CharBackend
from bimetal.base.clock import Clock, RealClock
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late
from bimetal.base.log import logger
from bimetal.devices.answers import Answer
from bimetal.machine.assembly import Assembly, Engine
from bimetal.machine.board import Board
from bimetal.machine.chassis import Chassis
from bimetal.machine.closing import Closing
from bimetal.machine.config import Config, Disk
from bimetal.machine.consoles import Consoles
from bimetal.machine.events import EventKind, MachineEvent
from bimetal.machine.gate import VcpuGate
from bimetal.machine.live.jobs import Jobs
from bimetal.machine.runner import Runner
from bimetal.machine.service import Service

if TYPE_CHECKING:
    from bimetal.machine.checkpoint import Checkpoint
    from bimetal.machine.leaving import Leaving
    from bimetal.machine.profile import Profiler

__all__ = ["MachineCore", "no_way"]


def no_way() -> None:
    """The end of a move that is not under way."""


class MachineCore:
    """The parts of a machine, and how they hang together. `Machine` is what a program does with
    them."""

    def _put_together(
        self,
        board: Board,
        config: Config,
        engine: Engine,
        serial: str | CharBackend,
        hvc: str | CharBackend | None,
        clock: Clock | None,
    ) -> None:
        self._board, self.config, self._engine = board, config, engine
        self._clock = clock or RealClock()
        self._clock.pause()
        self._gate = VcpuGate()
        self._service = Service(self._gate, self._clock)
        self._parts = Assembly(board, engine, self._new_chassis, self._gate, self._service)
        self._gate.on_over.add(self._clock.pause)
        self._consoles = Consoles(self._gate, serial, hvc)
        self.console, self.hvc = self._consoles.first, self._consoles.hvc
        self._profiler: Profiler | None = None
        self._closing = Closing(self._parts, self._service, self._consoles)
        self._kept: Checkpoint | None = None
        self._jobs = Jobs(self._gate)
        self._closing.viewers += [self._jobs.exports, self._jobs]
        self._leaving: Leaving | None = None
        """On its way to another process, or there."""
        self._way_out: Callable[[], None] = no_way
        """Gives up a move that is under way; in any thread, without the machine's lock, which who
        moves may hold while it waits for the other side."""

    @property
    def on_save_key(self) -> Callable[[], None] | None:
        """Callback: a person at the terminal wants the machine saved. It must not wait, nor save in
        the same thread."""
        return self._consoles.on_save

    @on_save_key.setter
    def on_save_key(self, save: Callable[[], None] | None) -> None:
        self._consoles.on_save = save

    @property
    def away(self) -> bool:
        """Whether it has gone to another process, or is about to."""
        return self._leaving is not None and self._leaving.let_go

    def _pause(self) -> bool:
        """Stop CPUs and time; whether they were not stopped before."""
        with self._gate.lock:
            ran = not self._gate.paused
            self._gate.pause()
            self._clock.pause()
            return ran

    def _check_here(self) -> None:
        if self.away:
            raise BimetalError(
                "the machine has gone to another process",
                "if it is not there, take it back: come_back(), or cont",
                ExitCode.UNAVAILABLE,
            )

    def _built(self) -> Runner:
        runner = self._parts.built()
        self._check_failure()
        return runner

    def _new_chassis(self) -> Chassis:
        hvc = self.hvc.line if self.hvc is not None else None
        defer = self._service.lulls
        processor = self._engine.described(self._board.isa)
        return Chassis(
            self.config,
            self._clock,
            self.console.line,
            defer,
            hvc,
            processor,
            self._service.aside,
            self._failed,
        )

    def _failed(self, part: object, disk: Disk, error: OSError, writes: bool) -> Answer:
        """See `Failed`. The lock is held."""
        failure = late("bimetal.machine.failures:answer_to")(disk, error, writes=writes)
        action: Answer = failure.action
        seats = late("bimetal.machine.live.seat:seats_of")(self._parts.built())
        names = [seat.name for seat in seats if seat.part is part]
        name = names[0] if names else ""  # on USB, disks have no names
        if action is Answer.STOP:
            logger("machine").error(
                "the host has failed to %s %s (%s): the machine is paused; put that right, and let "
                "it go on",
                "write to" if writes else "read from",
                name or "a disk",
                failure.reason,
            )
            self._gate.full = True
        self._gate.on_event(MachineEvent(EventKind.IO_ERROR, device=name, failure=failure))
        if action is Answer.STOP:
            self._service.reactor.call(self._wait_for_room)
        return action

    def _wait_for_room(self) -> None:
        if self._gate.full and not self._gate.over.is_set():
            self._gate.pause()
            self._clock.pause()

    def _check_failure(self) -> None:
        if self._gate.failure is not None:
            raise self._gate.failure
