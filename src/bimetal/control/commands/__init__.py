"""The commands that act on a machine. Importing this package declares all of them."""

from __future__ import annotations

from bimetal.control.commands import (
    copies,
    creating,
    descriptors,
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

__all__ = ["MACHINE", "copies", "creating", "descriptors", "devices", "drives", "emulator"]
__all__ += ["human", "introspection", "jobs", "kept", "limits", "looking", "media", "migrating"]
__all__ += ["objects", "observing", "overlays", "running", "screens", "traffic"]
