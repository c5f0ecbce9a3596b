"""The registry of commands that act on a machine."""

from __future__ import annotations

from bimetal.control.managed import Managed
from bimetal.control.registry import Registry

__all__ = ["MACHINE"]

MACHINE = Registry[Managed]("machine")
