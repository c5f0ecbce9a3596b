"""What the machine gives to devices that work in turns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

__all__ = ["Turns"]


class Turns(Protocol):
    """Has functions called soon, with the machine's lock given up in between."""

    def __call__(self, turn: Callable[[], None], /) -> None:
        """Have ``turn`` called once others have had theirs."""

    def in_a_lull(self, turn: Callable[[], None], /) -> None:
        """Have ``turn`` called when the vCPUs have nothing to do, or have been at work for a
        millisecond: then there may be more for it. The lock is held."""
