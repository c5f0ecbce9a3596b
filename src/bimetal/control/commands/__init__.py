"""The commands that act on a machine. Importing this package declares all of them."""

from __future__ import annotations

from bimetal.control.commands import (
    copies,
    creating,
    devices,
    drives,
    emulator,
    human,
    introspection,
    jobs,
    kept,
    limits,
    looking,
    media,
    migrating,
    objects,
    observing,
    overlays,
    running,
    screens,
    traffic,
)
from bimetal.control.commands.registry import MACHINE

__all__ = ["MACHINE", "copies", "creating", "devices", "drives", "emulator", "human"]
__all__ += [
    "introspection",
    "jobs",
    "kept",
    "limits",
    "looking",
    "media",
    "migrating",
    "objects",
    "observing",
]
__all__ += ["overlays", "running", "screens", "traffic"]
