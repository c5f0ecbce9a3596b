"""How the store names a region among those that are found by the same line of code."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from msgspec import Struct

from .cover import Cover
from .layout import PAGE

__all__ = ["StoredRegion", "bits_of", "check_region", "ones"]


def ones(bits: int) -> tuple[int, ...]:
    """The positions of the bits that are set in a number, in ascending order."""
    text = bin(bits)[:1:-1]
    place, places = text.find("1"), list[int]()
    while place >= 0:
        places.append(place)
        place = text.find("1", place + 1)
    return tuple(places)


def bits_of(steps: Iterable[int]) -> int:
    """A number with a bit for each offset in a page. Raises ValueError for what is none."""
    bits = 0
    for step in steps:
        if type(step) is not int or not 0 <= step < PAGE:
            raise ValueError(f"{step!r} is not an offset in a page")
        bits |= 1 << step
    return bits


def check_region(entries: tuple[int, ...], bits: int, cover: Cover) -> None:
    """Check offsets from outside, because they decide where handlers are written.

    Raises ValueError if an entry is not one of the instructions, which ``bits`` has, or one of
    these is not in what is covered.
    """
    cover.check()
    if strange := bits_of(entries) & ~bits:
        raise ValueError(f"a region is entered at {ones(strange)}, where it has no instruction")
    if bits & ~cover.bits:
        raise ValueError("a region has instructions in code that it does not cover")


class StoredRegion(Struct, frozen=True):
    """A region's level, the symbol that its object defines, the offsets where it is entered, a bit
    for that of each of its instructions, which the page has executed at some time, and the code
    that it is for."""

    level: int
    symbol: str
    entries: tuple[int, ...]
    bits: int
    cover: Cover

    @property
    def name(self) -> str:
        """The region's name in the store, which `parse` reads."""
        spans = ",".join(f"{start:x}-{end:x}" for start, end in self.cover.spans)
        entries = (f"{entry:x}" for entry in self.entries)
        level, bits = str(self.level), f"{self.bits:x}"
        return " ".join((level, self.symbol, bits, spans, self.cover.digest, *entries))

    @classmethod
    def parse(cls, name: str) -> Self:
        """The region that a name describes. Raises ValueError if it is not a valid name."""
        level, symbol, digits, covered, digest, *entries = name.split(" ")
        offsets, bits = tuple(int(entry, 16) for entry in entries), int(digits, 16)
        ends = (span.split("-") for span in filter(None, covered.split(",")))
        cover = Cover(tuple((int(start, 16), int(end, 16)) for start, end in ends), digest)
        check_region(offsets, bits, cover)
        return cls(int(level), symbol, offsets, bits, cover)
