"""A machine's memory balloon, as a program uses it."""

from __future__ import annotations

import threading

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.sizes import format_size
from bimetal.devices.virtio.balloon import PAGE, VirtioBalloon
from bimetal.machine.assembly import Assembly
from bimetal.machine.config import memory_size
from bimetal.machine.events import EventKind, MachineEvent
from bimetal.machine.expect import TimedOut
from bimetal.machine.runner import Runner

__all__ = ["Balloon"]


class Balloon:
    """Asks the guest for memory, and how it uses what it has. Its methods may be called from any
    thread once the machine has started."""

    def __init__(self, parts: Assembly):
        self._parts = parts

    def __repr__(self) -> str:
        if self._parts.runner is None or self._parts.closed:
            return "<Balloon>"
        return f"<Balloon: the guest has {format_size(self.memory)}>"

    @property
    def memory(self) -> int:
        """Bytes of memory that the guest has: all but what is in the balloon."""
        runner, device = self._device()
        with runner.locked():
            return runner.hardware.config.memory - device.pages_given * PAGE

    def announce(self) -> None:
        """Have listeners of the machine told whenever `memory` changes."""
        runner, device = self._device()
        whole = runner.hardware.config.memory

        def changed() -> None:
            left = whole - device.pages_given * PAGE
            runner.gate.on_event(MachineEvent(EventKind.BALLOON, guest=True, memory=left))

        device.on_given = changed

    def resize(self, memory: str | int) -> None:
        """Ask the guest to get along with that much memory, or to take it back; sizes are as those
        of `Machine`. It needs time, and may not do so: see `memory`. Raises `BimetalError` for more
        than the machine has."""
        runner, device = self._device()
        size, whole = memory_size(memory), runner.hardware.config.memory
        if not 0 < size <= whole:
            raise BimetalError(
                f"a guest of {format_size(whole)} cannot be given {format_size(size)}",
                f"choose at most {format_size(whole)}",
                ExitCode.USAGE,
            )
        with runner.locked():
            device.want((whole - size) // PAGE)

    def statistics(self, timeout: float = 60) -> dict[str, int]:
        """How the guest uses its memory now, by the names in
        `bimetal.devices.virtio.balloon.STATISTICS`; sizes are bytes. Raises `TimedOut` if it does
        not answer within ``timeout`` seconds, and `BimetalError` if it has no driver for this."""
        runner, device = self._device()
        told = threading.Event()
        with runner.locked():
            device.on_statistics = told.set
            asked = device.ask_for_statistics()
        if not asked:
            raise BimetalError(
                "the guest has no driver that tells how it uses its memory",
                "wait until it has started, or load virtio_balloon there",
                ExitCode.UNAVAILABLE,
            )
        if not told.wait(timeout):
            raise TimedOut(
                f"the guest has not told how it uses its memory in {timeout:g} s",
                "it may be paused or busy",
            )
        with runner.locked():
            return dict(device.statistics)

    def _device(self) -> tuple[Runner, VirtioBalloon]:
        runner = self._parts.built()
        return runner, runner.hardware.placements.only(VirtioBalloon)
