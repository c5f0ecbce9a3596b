"""Options that ask what there is: the answer is printed, and the process ends."""

from __future__ import annotations

import sys
from typing import NoReturn

from bimetal.control.emulator.meaningless import MEANINGLESS
from bimetal.control.emulator.order import Order
from bimetal.control.emulator.targets import Target
from bimetal.control.version import PROTOCOL, package

__all__ = ["AskedOnly", "list_machines", "list_models", "read_help", "read_version"]


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
    raise AskedOnly("\n".join(["Available CPUs:", *(f"  {name}" for name in target.models)]))
