"""The registry of verbs, and what most of them take."""

from __future__ import annotations

from typing import Annotated

from bimetal.control.machines import Machines
from bimetal.control.registry import Registry

__all__ = ["DOCUMENT", "HOST", "IN_ORDER", "REST", "Document", "Domain", "File"]

HOST = Registry[Machines]("host")

Domain = Annotated[str, "the machine: its name, UUID, or the id of its run"]
File = Annotated[str, "the path of a file"]

DOCUMENT = object()
"""Marks a file that is read once: where there are no files, its text is given in its place."""

REST = object()
"""Marks what takes all words that are left on a command line."""

IN_ORDER = object()
"""Marks what may stand without its name on a command line though it may be left out."""

Document = Annotated[str, "the path of a file", DOCUMENT]
