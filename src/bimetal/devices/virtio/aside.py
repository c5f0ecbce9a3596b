"""Work that waits for the host, done without the machine's lock while the device goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

__all__ = ["Aside", "Errand"]


class Errand(Protocol):
    """Work that is being done aside."""

    def finish(self) -> None:
        """Wait for the work, and have what was to follow it done now if it was not yet. Call with
        the machine's lock held."""


Aside = Callable[[Sequence[Callable[[], None]], Callable[[], None]], Errand]
"""Have each of some functions called soon by any thread, without the lock, and then, once, another
one with the lock held, but not before this returns. Call with the lock held."""
