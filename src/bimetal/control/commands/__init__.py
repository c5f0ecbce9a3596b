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
    lines,
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
__all__ += ["emulator", "human", "introspection", "jobs", "kept", "limits", "lines", "looking"]
__all__ += ["media", "migrating", "objects", "observing", "overlays", "processors", "running"]
__all__ += ["screens", "traffic"]
