"""The commands that act on a machine. Importing this package declares all of them."""

from __future__ import annotations

from bimetal.control.commands import (
    copies,
    creating,
    descriptors,
    devices,
    drives,
    dumping,
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
    processors,
    running,
    screens,
    traffic,
)
from bimetal.control.commands.registry import MACHINE

__all__ = ["MACHINE", "copies", "creating", "descriptors", "devices", "drives", "dumping"]
__all__ += ["emulator", "human", "introspection", "jobs", "kept", "limits", "looking", "media"]
__all__ += ["migrating", "objects", "observing", "overlays", "processors", "running", "screens"]
__all__ += ["traffic"]
