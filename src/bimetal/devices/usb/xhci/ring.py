"""The rings that software fills (xHCI 1.1, section 4.9): commands, and transfers of endpoints."""

from __future__ import annotations

from bimetal.base.errors import GuestError
from bimetal.base.state import Stateful
from bimetal.devices.usb.xhci.trb import TRB_SIZE, Kind, Trb
from bimetal.memory.space import AddressSpace

__all__ = ["Ring", "RingError"]

LINKS_LIMIT = 32
"""Links that may lead to each other."""
TRANSFER_LIMIT = 4096
"""Blocks of one transfer."""
ALIGNED = ~(TRB_SIZE - 1)


class RingError(GuestError):
    """What is in a ring breaks the rules."""


class Ring(Stateful):
    """Where the next block lies (``pointer``), and the ``cycle`` by which it is known to be new."""

    saved = ("pointer", "cycle")

    def __init__(self, pointer: int = 0, cycle: bool = False):
        self.pointer, self.cycle = pointer, cycle

    @classmethod
    def from_word(cls, word: int) -> Ring:
        """The ring that a context or a command names: an address whose lowest bit is the cycle."""
        return cls(word & ALIGNED, bool(word & 1))

    @property
    def word(self) -> int:
        """The inverse of `from_word`."""
        return self.pointer | self.cycle

    def take(self, memory: AddressSpace) -> Trb | None:
        """The next block that software has added, or None. Raises `RingError`, and `BadAddress`
        for what is not memory."""
        for _ in range(LINKS_LIMIT):
            trb = Trb.read(self.pointer, memory.view(self.pointer, TRB_SIZE))
            if trb.cycle != self.cycle:
                return None
            if trb.kind != Kind.LINK:
                self.pointer += TRB_SIZE
                return trb
            self.pointer = trb.parameter & ALIGNED
            self.cycle ^= trb.toggles
        raise RingError("links of a ring that lead to links alone")

    def next_transfer(self, memory: AddressSpace) -> tuple[list[Trb], Ring] | None:
        """The blocks of the next transfer, and the ring behind them; None if software has not added
        a whole one. Raises as `take`."""
        after, found = Ring(self.pointer, self.cycle), list[Trb]()
        while (trb := after.take(memory)) is not None:
            found.append(trb)
            if not trb.chained:
                return found, after
            if len(found) == TRANSFER_LIMIT:
                raise RingError(f"a transfer of more than {TRANSFER_LIMIT} blocks")
        return None
