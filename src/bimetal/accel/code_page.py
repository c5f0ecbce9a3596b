"""What is known about a page of guest code, identified by its content."""

from __future__ import annotations

from msgspec import Struct, field

from ..codegen.stored_region import StoredRegion, ones
from ..isa.decoding import USUAL, Decoding

__all__ = ["CodePage", "Loaded"]


class Loaded(Struct, frozen=True):
    """A region in memory: its level, the page offsets of its entries, and its host address."""

    level: int
    entries: tuple[int, ...]
    address: int


class CodePage(Struct, eq=False, weakref=True):
    """A page's content, how it is decoded, and what has been made of it.

    ``covered`` has a bit for each offset where a region has an instruction: some run has executed
    it, though this one may never have decoded it. ``entries`` are the offsets at which some region
    is entered, ``asked`` the places that were ever asked for, as offsets and `Spot.jumps`, and
    ``left`` those that were left for the machine's end. ``recalled``: an earlier run has translated
    what was hot. ``decoded`` are the granules that had been decoded when the page was last
    ``noted`` to be so hot.
    """

    code: bytes
    decoding: Decoding = USUAL
    covered: int = 0
    regions: list[Loaded] = field(default_factory=list)
    entries: set[int] = field(default_factory=set)
    asked: set[tuple[int, bool]] = field(default_factory=set)
    left: set[tuple[int, bool]] = field(default_factory=set)
    recalled: bool = False
    decoded: bytes = b""
    noted: float = 0.0

    def add(self, stored: StoredRegion, loaded: Loaded) -> None:
        """Add a region that has been loaded."""
        self.regions.append(loaded)
        self.entries.update(stored.entries)
        self.covered |= stored.bits

    def is_there(self, offset: int, jumps: bool) -> bool:
        """Whether nothing is gained by having a place translated, as a region has it already.

        The code before a jump in a region is in the region too, from the start of its block. Code
        that enters from elsewhere, into the middle of a block, gets samples there.
        """
        there = bool(self.covered >> offset & 1) if jumps else offset in self.entries
        return there or (offset, jumps) in self.asked

    def executed(self, decoded: bytes, granule: int) -> bytes:
        """A byte for each granule of the page, 1 if it has been executed: as a vCPU has ``decoded``
        it, or as regions cover it."""
        flags = bytearray(decoded)
        for offset in ones(self.covered):
            flags[offset // granule] = 1
        return bytes(flags)
