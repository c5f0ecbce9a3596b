"""How the store names a region among those of its page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

__all__ = ["Part"]


@dataclass(frozen=True, slots=True)
class Part:
    """A region's level, the symbol that its object defines, the offsets where it is entered, and
    those of all its instructions, which the page has executed at some time."""

    level: int
    symbol: str
    entries: tuple[int, ...]
    steps: tuple[int, ...]

    @property
    def name(self) -> str:
        """The name; `parse` reads it."""
        steps = sum(1 << step for step in self.steps)
        entries = (f"{entry:x}" for entry in self.entries)
        return " ".join((str(self.level), self.symbol, f"{steps:x}", *entries))

    @classmethod
    def parse(cls, name: str) -> Self:
        """What a name says."""
        level, symbol, bits, *entries = name.split(" ")
        ones = bin(int(bits, 16))[:1:-1]
        steps = tuple(step for step, bit in enumerate(ones) if bit == "1")
        return cls(int(level), symbol, tuple(int(entry, 16) for entry in entries), steps)
