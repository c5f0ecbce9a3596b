"""How much a device has moved since it was made."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["Traffic"]


class Traffic(Struct):
    """What went into the guest's memory, and what came out of it: requests or frames, and bytes. A
    copy of the machine counts on, and so does a machine after a reset."""

    times_in: int = 0
    bytes_in: int = 0
    times_out: int = 0
    bytes_out: int = 0
    flushes: int = 0
    """How often what was written had to be safe, of a disk."""

    def came_in(self, size: int, times: int = 1) -> None:
        """Something was read, or received."""
        self.times_in += times
        self.bytes_in += size

    def went_out(self, size: int, times: int = 1) -> None:
        """Something was written, or sent."""
        self.times_out += times
        self.bytes_out += size
