"""A state of a machine in memory, to which it can go back in a moment.

The memory of the machine is moved into a file of the host's that has no name, and mapped from it
privately: the host itself then knows which pages were written to since, and forgets them when it is
told to, in time that depends on their number.
"""

from __future__ import annotations

from bimetal.machine.consoles import Consoles
from bimetal.machine.runner import Runner
from bimetal.machine.still import (
    areas_of,
    check_plugged,
    load_machine,
    plugged_in,
    save_machine,
    settle,
)

__all__ = ["Checkpoint"]


class Checkpoint:
    """The state of a machine that stands still. Raises `BimetalError` if it cannot be kept."""

    def __init__(self, runner: Runner, consoles: Consoles):
        devices = [placement.device for placement in runner.hardware.placements]
        for device in devices:
            device.check_forkable()
        settle(runner)
        for device in devices:
            device.stack()
        for ram in runner.hardware.memories:
            ram.freeze()
        self._plugged = plugged_in(runner)
        self._state = save_machine(runner, consoles)
        self._areas = {
            name: list(area.contents()) for name, area in areas_of(runner.hardware).items()
        }

    def load(self, runner: Runner, consoles: Consoles) -> None:
        """Bring the machine back. It stands still. Raises `BimetalError` if other devices are
        plugged into it than then."""
        check_plugged(runner, self._plugged)
        for placement in runner.hardware.placements:
            placement.device.let_go()
        for ram in runner.hardware.memories:
            ram.thaw()
        load_machine(runner, consoles, self._state)
        for name, area in areas_of(runner.hardware).items():
            area.clear()
            for number, page in self._areas.get(name, ()):
                area.put(number, page)
