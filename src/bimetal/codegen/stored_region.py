"""How the store names a region among those that are found by the same line of code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from .cover import Cover
from .layout import PAGE

__all__ = ["StoredRegion", "check_region", "ones"]


def ones(bits: int) -> tuple[int, ...]:
    """The positions of the bits that are set in a number, in ascending order."""
    return tuple(place for place, bit in enumerate(bin(bits)[:1:-1]) if bit == "1")


def check_region(entries: tuple[int, ...], steps: tuple[int, ...], cover: Cover) -> None:
    """Check offsets from outside, because they decide where handlers are written.

    Raises ValueError if one is not an offset in a page, or an entry is not one of ``steps``.
    """
    cover.check()
    for step in steps:
        if type(step) is not int or not 0 <= step < PAGE:
            raise ValueError(f"{step!r} is not an offset in a page")
    if strange := set(entries).difference(steps):
        raise ValueError(f"a region is entered at {strange}, where it has no instruction")
    if _bits(steps) & ~cover.bits:
        raise ValueError("a region has instructions in code that it does not cover")


def _bits(steps: tuple[int, ...]) -> int:
    return sum(1 << step for step in steps)


@dataclass(frozen=True, slots=True)
class StoredRegion:
    """A region's level, the symbol that its object defines, the offsets where it is entered, those
    of all its instructions, which the page has executed at some time, and the code that it is for.
    """

    level: int
    symbol: str
    entries: tuple[int, ...]
    steps: tuple[int, ...]
    cover: Cover

    @property
    def name(self) -> str:
        """The region's name in the store, which `parse` reads."""
        spans = ",".join(f"{start:x}-{end:x}" for start, end in self.cover.spans)
        entries = (f"{entry:x}" for entry in self.entries)
        level, bits = str(self.level), f"{self.bits:x}"
        return " ".join((level, self.symbol, bits, spans, self.cover.digest, *entries))

    @property
    def bits(self) -> int:
        """The offsets of all instructions as a number with those bits set."""
        return _bits(self.steps)

    @classmethod
    def parse(cls, name: str) -> Self:
        """The region that a name describes. Raises ValueError if it is not a valid name."""
        level, symbol, bits, covered, digest, *entries = name.split(" ")
        offsets, steps = tuple(int(entry, 16) for entry in entries), ones(int(bits, 16))
        ends = (span.split("-") for span in filter(None, covered.split(",")))
        cover = Cover(tuple((int(start, 16), int(end, 16)) for start, end in ends), digest)
        check_region(offsets, steps, cover)
        return cls(int(level), symbol, offsets, steps, cover)
