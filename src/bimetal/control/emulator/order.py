"""What a command line asks for: what `Machine` is given, and what its process does besides.

Options fill it in, each by itself; what refers to something else (a device to its drive) does so by
name, and is resolved when all of the line has been read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from bimetal.control.emulator.grammar import Words
from bimetal.control.emulator.targets import MachineKind, Target

__all__ = ["MonitorAt", "Order"]


@dataclass(frozen=True)
class MonitorAt:
    """A monitor for programs: its ``place`` in the words of `bimetal.backends.clients`, or the
    line ``chardev``."""

    place: str = ""
    chardev: str = ""


@dataclass
class Order:
    """What was asked of the emulator ``target``."""

    target: Target
    kind: MachineKind | None = None
    nothing: bool = False
    """Whether it is to have no machine at all, and only be asked what there is."""

    machine: dict[str, Any] = field(default_factory=dict)
    """Arguments of `Machine`, but for its board."""
    board_options: dict[str, str] = field(default_factory=dict)
    memory_backend: str = ""
    flash_nodes: tuple[str, ...] = ()

    name: str = ""
    uuid: UUID | None = None
    defaults: bool = True
    """Whether devices are there that nobody has asked for."""
    graphic: bool = True
    paused: bool = False
    stays: bool = False
    """Whether the process goes on when the guest has switched off, until it is told to end."""
    daemon: bool = False
    pid_file: str = ""
    loadvm: str = ""
    incoming: str = ""

    monitors: list[MonitorAt] = field(default_factory=list)
    serials: list[str] = field(default_factory=list)
    chardevs: dict[str, Words] = field(default_factory=dict)
