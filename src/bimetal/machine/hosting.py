"""Semihosting calls of a machine's programs: answered if the user wants that, else refused and
logged once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import LateModule
from bimetal.base.log import EventLog
from bimetal.machine.hardware import Hardware
from bimetal.machine.program_memory import ProgramMemory
from bimetal.machine.vcpu import Vcpu
from bimetal.seam import Semihosting, Shutdown, ShutdownKind, Translating

if TYPE_CHECKING:
    from bimetal.firmware import semihosting
else:
    semihosting = LateModule("bimetal.firmware.semihosting")

__all__ = ["Hosting"]

HINT = "the program asks for its debugger: bimetal run --semihosting, or semihosting=True, answers"


class Hosting:
    """Semihosting for the programs on ``vcpus``, which end their run by ``ask``.

    Raises `BimetalError` if the user wants it and the CPUs do not know it.
    """

    def __init__(
        self, hardware: Hardware, vcpus: Sequence[Vcpu], ask: Callable[[Shutdown], None], accel: str
    ):
        config = hardware.config
        if config.semihosting and not all(isinstance(each.cpu, Translating) for each in vcpus):
            raise BimetalError(
                f"the accelerator {accel} knows no semihosting",
                "choose 'jit' or 'interp', on a board that these run",
                ExitCode.UNAVAILABLE,
            )
        self._hardware, self._vcpus, self._ask = hardware, vcpus, ask
        self._answers = semihosting.Semihosting(self._host()) if config.semihosting else None
        self.events = self._answers.events if self._answers else EventLog("semihosting")
        hardware.console.on_input = self._wake

    def _host(self) -> semihosting.Host:
        hardware, config = self._hardware, self._hardware.config
        name = PurePath(config.kernel or config.bios or "").name
        return semihosting.Host(
            console=hardware.console,
            clock=hardware.clock,
            power_off=lambda code: self._ask(Shutdown(ShutdownKind.POWER_OFF, code)),
            command_line=(os.fsencode(name) + b" " + config.command_line).strip(),
            heap=lambda: hardware.boot.unused,
        )

    def serve(self, vcpu: Vcpu, asked: Semihosting) -> None:
        """Answer a call of the program on ``vcpu``. Call with the machine's lock held."""
        if self._answers is None:
            asked.refused = True
            if not self.events.counts:
                self.events.hint(HINT)
            return
        memory = ProgramMemory(self._hardware.space, vcpu.cpu)
        try:
            asked.result = self._answers.call(memory, asked.operation, asked.parameter)
        except semihosting.NotYet:
            asked.again = True

    def save(self) -> dict[str, object] | None:
        """The state of what programs have opened; None if they are not answered."""
        return None if self._answers is None else self._answers.save()

    def load(self, state: Mapping[str, Any] | None) -> None:
        """Restore what `save` returned. Raises ValueError."""
        if (state is None) != (self._answers is None):
            raise ValueError("semihosting that is on in one machine only")
        if state is not None and self._answers is not None:
            self._answers.load(state)

    def reset(self) -> None:
        """Close what the programs have opened."""
        if self._answers is not None:
            self._answers.files.clear()

    def _wake(self) -> None:
        """There is input: whoever waits for it asks again."""
        for vcpu in self._vcpus:
            vcpu.wake.set()
