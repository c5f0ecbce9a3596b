"""What base address registers ask for, and which windows a bridge forwards."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from msgspec import Struct

from bimetal.memory.space import MmioTarget

__all__ = ["Bar", "Decoded", "Kind", "Window"]


class Kind(Enum):
    """The two address spaces of the bus."""

    MEMORY = "memory"
    IO = "io"


class Bar(Struct, frozen=True):
    """``size`` bytes, a power of two, in which ``target`` answers, wherever software places them.

    ``wide`` ones have addresses of 64 bits and take two registers; ``prefetchable`` ones have no
    side effects of reads.
    """

    target: MmioTarget
    size: int
    kind: Kind = Kind.MEMORY
    wide: bool = False
    prefetchable: bool = False

    def __post_init__(self) -> None:
        least = 4 if self.kind is Kind.IO else 16
        if self.size < least or self.size & (self.size - 1):
            raise ValueError(f"no base address register asks for {self.size} bytes")
        if self.kind is Kind.IO and (self.wide or self.prefetchable):
            raise ValueError("ports are neither wide nor prefetchable")

    @property
    def type_bits(self) -> int:
        """The low bits of the register, which tell the kind (7.5.1.2.1)."""
        if self.kind is Kind.IO:
            return 1
        return self.wide << 2 | self.prefetchable << 3

    @property
    def address_bits(self) -> int:
        """The bits that software can set, of both registers if it is wide."""
        return ((1 << (64 if self.wide else 32)) - 1) & ~(self.size - 1)


class Window(Struct, frozen=True):
    """Addresses of the bus from ``first`` to ``last`` that a bridge forwards. ``index`` is that of
    the host bridge's window, which begins at ``base``, that it is or lies in."""

    index: int
    kind: Kind
    base: int
    first: int
    last: int

    def holds(self, kind: Kind, address: int, size: int) -> bool:
        """Whether all of a range lies in it."""
        return kind is self.kind and self.first <= address and address + size - 1 <= self.last

    def cut(self, kind: Kind, first: int, last: int) -> Window | None:
        """What a bridge behind it forwards that is programmed to ``first``..``last``, if any."""
        first, last = max(self.first, first), min(self.last, last)
        if kind is not self.kind or first > last:
            return None
        return Window(self.index, kind, self.base, first, last)


class Decoded(NamedTuple):
    """Where ``target`` answers: ``size`` bytes, ``offset`` bytes into the host bridge's window
    number ``window``."""

    window: int
    offset: int
    size: int
    target: MmioTarget
