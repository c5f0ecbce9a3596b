"""The garbage collector of a process of our own, for commands."""

from __future__ import annotations

from bimetal.base.collecting import collect_seldom

__all__ = ["collect_seldom"]
