"""Machines that command lines ask for, whose CPUs play scripts."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from bimetal.accel.script import ScriptAccelerator
from bimetal.control.emulator.furnishing import furnish
from bimetal.control.emulator.making import monitor_places, new_machine
from bimetal.control.emulator.options import read_command_line
from bimetal.control.emulator.targets import TARGETS
from bimetal.control.emulator.viewing import let_in
from bimetal.control.monitor import Monitor

__all__ = ["ordered"]

USUAL = "-nodefaults -display none -m 16M"


@contextmanager
def ordered(line: str, target: str = "riscv64", *, viewers: bool = False) -> Iterator[Monitor]:
    """The machine that ``line`` asks for, with its devices, perhaps its ``viewers``, and not
    started; its monitor."""
    order = read_command_line(TARGETS[target], shlex.split(f"{USUAL} {line}"))
    order.machine["accel"] = ScriptAccelerator([])
    machine, label = new_machine(order)
    with machine:
        people = monitor_places(order, people=True)
        monitor = Monitor(machine, monitor_places(order), people=people, target=order.target)
        monitor.vm.console_label = label
        try:
            furnish(order, monitor)
            if viewers:
                let_in(order, monitor.vm)
            yield monitor
        finally:
            monitor.close()
