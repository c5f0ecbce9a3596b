"""The commands that act on a machine. Importing this package declares all of them."""

from __future__ import annotations

from bimetal.control.commands import (
    bitmaps,
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
    reopening,
    running,
    screens,
    serving,
    thresholds,
    traffic,
)
from bimetal.control.commands.registry import MACHINE

__all__ = ["MACHINE", "bitmaps", "copies", "creating", "descriptors", "devices", "drives"]
__all__ += ["dumping", "emulator", "human", "introspection", "jobs", "kept", "limits", "lines"]
__all__ += ["looking", "media", "migrating", "objects", "observing", "overlays", "processors"]
__all__ += ["reopening", "running", "screens", "serving", "thresholds", "traffic"]
