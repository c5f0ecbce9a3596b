"""Which accesses a device takes, and how those of other widths reach it."""

from __future__ import annotations

from msgspec import Struct

from bimetal.base.errors import GuestError

__all__ = ["ANY", "SIZES", "Access", "Refused"]

SIZES = (1, 2, 4, 8)
"""Bytes that a CPU reads or writes at once."""


class Refused(GuestError):
    """An access that a device does not answer: a bus error, as if there were no device."""


class Access(Struct, frozen=True):
    """How a device is connected to its bus.

    ``sizes`` are those, in bytes, that it answers; accesses of other sizes are refused. It moves
    ``width`` bytes at once. A wider access is cut into several, in ascending order, unless only
    the ``lowest`` bytes are connected: then it is one, and its upper bytes are lost or read 0.
    """

    sizes: tuple[int, ...] = SIZES
    width: int = 8
    lowest: bool = False

    def __post_init__(self) -> None:
        if not set(self.sizes) <= set(SIZES) or self.width not in SIZES:
            raise ValueError(f"no bus has accesses like {self!r}")

    def whole(self, base: int, size: int) -> int:
        """The sizes, as bits of one number, whose aligned accesses in ``size`` bytes from ``base``
        on reach the device as they are: what its bus need not look at any further."""
        return sum(each for each in self.sizes if each <= self.width and (base | size) % each == 0)

    def __str__(self) -> str:
        text = f"{', '.join(map(str, self.sizes))} bytes"
        if self.width < max(self.sizes):
            text += f", {self.width} at once" + (" (the lowest)" if self.lowest else "")
        return text


ANY = Access()
"""Whatever a CPU does reaches the device as it is."""
