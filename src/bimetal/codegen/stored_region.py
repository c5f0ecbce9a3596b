"""How the store names a region among those of its page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from .layout import PAGE

__all__ = ["StoredRegion", "check_region", "ones"]


def ones(bits: int) -> tuple[int, ...]:
    """The places of the ones in a number, the lowest first."""
    return tuple(place for place, bit in enumerate(bin(bits)[:1:-1]) if bit == "1")


def check_region(entries: tuple[int, ...], steps: tuple[int, ...]) -> None:
    """Refuse offsets at which no region can be entered: they decide where handlers are written.

    Raises ValueError.
    """
    for step in steps:
        if type(step) is not int or not 0 <= step < PAGE:
            raise ValueError(f"{step!r} is no offset in a page")
    strange = set(entries).difference(steps)
    if strange:
        raise ValueError(f"a region is entered at {strange}, where it has no instruction")


@dataclass(frozen=True, slots=True)
class StoredRegion:
    """A region's level, the symbol that its object defines, the offsets where it is entered, and
    those of all its instructions, which the page has executed at some time."""

    level: int
    symbol: str
    entries: tuple[int, ...]
    steps: tuple[int, ...]

    @property
    def name(self) -> str:
        """The name; `parse` reads it."""
        entries = (f"{entry:x}" for entry in self.entries)
        return " ".join((str(self.level), self.symbol, f"{self.bits:x}", *entries))

    @property
    def bits(self) -> int:
        """A bit for each offset of an instruction."""
        return sum(1 << step for step in self.steps)

    @classmethod
    def parse(cls, name: str) -> Self:
        """What a name says. Raises ValueError if it is none."""
        level, symbol, bits, *entries = name.split(" ")
        offsets, steps = tuple(int(entry, 16) for entry in entries), ones(int(bits, 16))
        check_region(offsets, steps)
        return cls(int(level), symbol, offsets, steps)
