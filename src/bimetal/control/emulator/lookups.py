"""Options that ask what there is: the answer is printed, and the process ends."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import NoReturn

from bimetal.control.emulator.drivers import DRIVERS, OBJECTS, properties_of
from bimetal.control.emulator.meaningless import MEANINGLESS
from bimetal.control.emulator.order import Order
from bimetal.control.emulator.targets import Target
from bimetal.control.version import PROTOCOL, package

__all__ = [
    "HELP",
    "AskedOnly",
    "list_devices",
    "list_machines",
    "list_models",
    "list_objects",
    "list_options",
    "list_properties",
    "read_help",
    "read_version",
]

HELP = ("help", "?")
"""What stands for a value if it is to be told which ones there are."""


class AskedOnly(Exception):
    """The command line asks a question, to which this is the answer."""


def read_version(order: Order, option: str, value: str) -> NoReturn:
    """The version of QEMU whose command line is understood, and ours."""
    number = f"{PROTOCOL.major}.{PROTOCOL.minor}.{PROTOCOL.micro}"
    raise AskedOnly(f"QEMU emulator version {number} ({package()})")


def read_help(order: Order, option: str, value: str) -> NoReturn:
    """The options that there are."""
    options = sys.modules["bimetal.control.emulator.options"].OPTIONS
    lines = [f"usage: {order.target.program} [OPTION]... [-kernel FILE]", "", "Options:"]
    lines += [f"  -{name}{' VALUE' * option.takes}" for name, option in sorted(options.items())]
    lines += ["", "Options that change nothing here:"]
    lines += [f"  -{name}: {option.why}" for name, option in sorted(MEANINGLESS.items())]
    raise AskedOnly("\n".join(lines))


def list_machines(target: Target) -> NoReturn:
    """The kinds of machines."""
    lines = ["Supported machines are:"]
    for kind in target.machines:
        if kind.alias != kind.name:
            lines.append(f"{kind.alias:<20} {kind.board} (alias of {kind.name})")
        lines.append(f"{kind.name:<20} {kind.board}")
    lines.append(f"{'none':<20} empty machine")
    raise AskedOnly("\n".join(lines))


def list_models(target: Target) -> NoReturn:
    """The processor models."""
    notes = dict.fromkeys(target.by_kvm, "  by KVM alone: -accel kvm")
    lines = [f"  {name}{notes.get(name, '')}" for name in target.models]
    raise AskedOnly("\n".join(["Available CPUs:", *lines]))


def list_options(what: str, names: Iterable[str]) -> NoReturn:
    """What else may stand there."""
    raise AskedOnly("\n".join([f"{what}:", *(f"  {name}" for name in names)]))


def list_devices(target: Target) -> NoReturn:
    """The devices that machines of an emulator can have."""
    pci = any(kind.pci for kind in target.machines)
    lines = [
        f'name "{each.name}"{", bus PCI" if each.pci else ""}'
        for each in DRIVERS.values()
        if pci or not each.pci
    ]
    raise AskedOnly("\n".join(lines))


def list_objects() -> NoReturn:
    """The types of objects."""
    list_options("Objects supported", OBJECTS)


def list_properties(name: str) -> NoReturn:
    """What may be said of a device or an object."""
    properties = properties_of(name) or {}
    lines = [f"  {each}=<{kind}>" for each, kind in sorted(properties.items())]
    raise AskedOnly("\n".join([f"{name} options:", *lines]))
