"""Names of a guest's code by address."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

__all__ = ["Symbol", "SymbolTable"]

LAST = 4096
"""Bytes that belong to a symbol of unknown size with none behind it."""


class Symbol(Struct, frozen=True):
    """The code at ``address``: its name, and the file or module it is in, as the user knows it.

    ``size`` is 0 where the file does not tell; the symbol then ends where the next one begins.
    """

    address: int
    size: int
    name: str
    object: str


class SymbolTable:
    """Symbols of code by address; ``limits`` are addresses of other things, where code ends."""

    def __init__(self, symbols: Iterable[Symbol], limits: Iterable[int] = ()):
        # Of several names for one address the first counts, unless only a later one has a size.
        best: dict[int, Symbol] = {}
        for symbol in symbols:
            known = best.get(symbol.address)
            if known is None or (symbol.size and not known.size):
                best[symbol.address] = symbol
        self._symbols = best
        self._starts = sorted({*best, *limits})

    def __len__(self) -> int:
        return len(self._symbols)

    def moved(self, distance: int) -> SymbolTable:
        """The same names for a program that lies elsewhere."""
        symbols = [
            replace(each, address=each.address + distance) for each in self._symbols.values()
        ]
        return SymbolTable(symbols, [start + distance for start in self._starts])

    def find(self, address: int) -> Symbol | None:
        """The symbol whose code ``address`` belongs to."""
        place = bisect_right(self._starts, address)
        symbol = self._symbols.get(self._starts[place - 1]) if place else None
        if symbol is None:
            return None
        following = self._starts[place] if place < len(self._starts) else symbol.address + LAST
        end = symbol.address + symbol.size if symbol.size else following
        return symbol if address < end else None
