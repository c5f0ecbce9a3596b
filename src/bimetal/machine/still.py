"""The state of a whole machine that stands still, as plain values and areas of memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.state import BadState
from bimetal.devices.device import Device
from bimetal.machine.consoles import Consoles
from bimetal.machine.hardware import Hardware
from bimetal.machine.runner import Runner
from bimetal.machine.sockets import Plugged
from bimetal.memory.contents import Area, Lent, Stored

__all__ = [
    "areas_of",
    "check_fits",
    "check_plugged",
    "lent_by",
    "load_machine",
    "name_of",
    "plugged_in",
    "save_machine",
    "seen",
    "settle",
    "stored_of",
]


def settle(runner: Runner) -> None:
    """Have everything finished that is under way. Call while the machine is held."""
    runner.settle_all()
    for placement in runner.hardware.placements:
        placement.device.settle()


def save_machine(runner: Runner, consoles: Consoles) -> dict[str, Any]:
    """The state of a machine that is held and settled, but for its memory."""
    hardware = runner.hardware
    return {
        "clock": hardware.clock.now_ns(),
        "runner": runner.save(),
        "consoles": [console.save() for console in consoles],
        "devices": {each.device.name: each.device.save() for each in hardware.placements},
        "others": {name: part.save() for name, part in hardware.parts.items()},
    }


def check_fits(runner: Runner, consoles: Consoles, state: Mapping[str, Any]) -> None:
    """Raise ValueError if a state is one of a machine with other parts than this one."""
    for what, parts, states in _parts_of(runner.hardware, consoles, state):
        strange: object = "none"
        if isinstance(states, Mapping):
            absent = {name for name in parts.keys() - states.keys() if not _may_lack(parts[name])}
            strange = sorted(map(str, absent | (states.keys() - parts.keys())))
        if strange:
            raise BadState(f"the machine has other {what}s: {strange}")


def load_machine(runner: Runner, consoles: Consoles, state: Mapping[str, Any]) -> None:
    """Restore what `save_machine` returned, into a machine that is held or was never started, and
    that has its memory already. Raises ValueError for what is no state of such a machine."""
    check_fits(runner, consoles, state)
    hardware = runner.hardware
    now = state["clock"]
    if not isinstance(now, int) or now < 0:
        raise BadState(f"a clock cannot show {now!r:.40}")
    hardware.clock.set(now)
    runner.load(state["runner"])
    for _, parts, states in _parts_of(hardware, consoles, state):
        for name, part in parts.items():
            if name in states:
                part.load(states[name])
            elif isinstance(part, Device):
                part.reset()


def _may_lack(part: object) -> bool:
    """Whether snapshots of earlier versions have no state of a part, which is as after a reset."""
    return isinstance(part, Device) and part.newer


def name_of(number: int, memory: str) -> str:
    """What a machine's memory of that number is called in a snapshot, and on the way."""
    return f"{number} {memory}"


def areas_of(hardware: Hardware) -> dict[str, Area]:
    """The areas of devices that are part of their state, by the names that a snapshot has for them;
    what is there depends on the state."""
    return {
        f"{placement.device.name} {name}": area
        for placement in hardware.placements
        for name, area in placement.device.areas().items()
    }


def stored_of(hardware: Hardware) -> list[Stored]:
    """What is part of the state and lies in files of the host."""
    return [stored for placement in hardware.placements for stored in placement.device.stored()]


def lent_by(hardware: Hardware) -> list[Lent]:
    """What of that another machine may go on with."""
    return [stored for stored in stored_of(hardware) if isinstance(stored, Lent)]


def plugged_in(runner: Runner) -> list[Plugged]:
    """What is in the machine's slots for devices that come and go, and on USB."""
    sockets, usb = runner.hardware.sockets, runner.hardware.usb
    in_slots = [] if sockets is None else sockets.plugged()
    return [*in_slots, *([] if usb is None else usb.plugged())]


def seen(plugged: Sequence[Plugged]) -> list[Plugged]:
    """What a guest sees of devices in slots: not where the cables of NICs lead, which may be
    somewhere else now, nor what was in drives first, which may be something else."""
    drives = [each.cdrom and replace(each.cdrom, path=None) for each in plugged]
    return [
        replace(each, nic=None, cdrom=drive) for each, drive in zip(plugged, drives, strict=True)
    ]


def check_plugged(runner: Runner, then: Sequence[Plugged]) -> None:
    """Raise `BimetalError` if in the machine's slots is something else than ``then``."""
    if seen(plugged_in(runner)) != seen(then):
        raise BimetalError(
            "other devices are plugged into the machine than when its state was kept",
            "unplug what came, and plug in what went; or keep its state anew",
            ExitCode.USAGE,
        )


def _parts_of(
    hardware: Hardware, consoles: Consoles, state: Mapping[str, Any]
) -> list[tuple[str, Mapping[Any, Any], Any]]:
    """Each kind of part: what it is called, the parts that there are, and the states of such."""
    devices = {each.device.name: each.device for each in hardware.placements}
    return [
        ("console", dict(enumerate(consoles)), dict(enumerate(state["consoles"]))),
        ("device", devices, state["devices"]),
        ("part", hardware.parts, state["others"]),
    ]
