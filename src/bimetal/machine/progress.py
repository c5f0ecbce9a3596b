"""How far a machine is that moves to another process."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct, field

from bimetal.base.clock import monotonic_seconds

__all__ = ["PAGE", "Moving", "Pace"]

PAGE = 4096


class Pace(Struct):
    """How fast it may be: bytes a second, 0 for as many as there can be, and for how many seconds
    the guest may stand still. Both may be changed under way."""

    bandwidth: int = 0
    downtime: float = 0.3


class Moving(Struct):
    """Figures of a machine that moves: bytes of memory in all, sent in pages, and left; pages that
    were nothing but zeroes; how often memory was gone through; pages a second that the guest
    writes to; bytes a second. Times are seconds."""

    total: int = 0
    sent: int = 0
    left: int = 0
    zeroes: int = 0
    passes: int = 0
    dirty_rate: int = 0
    speed: float = 0.0
    began: float = field(default_factory=monotonic_seconds)
    took: float = 0.0
    setup: float = 0.0
    stood: float = 0.0
    """How long the guest has stood still, or is expected to."""

    on_pass: Callable[[int], object] = lambda number: None
    """Called when memory is gone through once more."""

    @property
    def pages(self) -> int:
        """Pages with contents that were sent."""
        return self.sent // PAGE
