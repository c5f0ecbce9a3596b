"""The registry of verbs, and what most of them take."""

from __future__ import annotations

from typing import Annotated

from bimetal.control.machines import Machines
from bimetal.control.registry import Registry

__all__ = ["HOST", "Domain", "File"]

HOST = Registry[Machines]("host")

Domain = Annotated[str, "the machine: its name, UUID, or the id of its run"]
File = Annotated[str, "the path of a file"]
