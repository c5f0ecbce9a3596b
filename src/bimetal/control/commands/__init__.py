"""The commands that act on a machine. Importing this package declares all of them."""

from __future__ import annotations

from bimetal.control.commands import (
    devices,
    drives,
    emulator,
    human,
    introspection,
    kept,
    looking,
    migrating,
    objects,
    observing,
    running,
    screens,
    traffic,
)
from bimetal.control.commands.registry import MACHINE

__all__ = ["MACHINE", "devices", "drives", "emulator", "human", "introspection"]
__all__ += ["kept", "looking", "migrating", "objects", "observing", "running", "screens", "traffic"]
