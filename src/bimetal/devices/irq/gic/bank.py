"""The state of interrupts in a GIC, many at once: each is a bit of some integers.

An interrupt is inactive, pending, active, or active and pending (IHI 0048B, 3.2.4; IHI 0069H,
4.1.2). SGIs (0 to 15) and PPIs (16 to 31) are a CPU's own, SPIs (from 32 on) are all CPUs'.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from bimetal.base.state import Stateful

__all__ = ["PRIVATE", "SGIS", "SGI_BITS", "SPURIOUS", "Bank", "Ready", "ones"]

SGIS, PRIVATE = 16, 32
SGI_BITS = (1 << SGIS) - 1
SPURIOUS = 1023
"""The interrupt ID that an acknowledge returns if none is pending (spurious)."""


def ones(bits: int) -> Iterator[int]:
    """The numbers of the bits that are set, in order."""
    while bits:
        yield (bits & -bits).bit_length() - 1
        bits &= bits - 1


class Ready(NamedTuple):
    """An interrupt that waits for a CPU; ``sender`` is the CPU that sent it if that is told."""

    priority: int
    number: int
    group: int
    sender: int = 0


class Bank(Stateful):
    """The ``count`` interrupts from number ``first`` on. Bit n of each integer is the n-th of them.

    ``levels`` are the inputs; ``edge`` says which of them count when they rise, and not as long as
    they are high. ``latched`` are risen edges and what software has made pending. ``group1`` are
    those of group 1. Of ``locked_edge`` the trigger cannot be changed, and ``always`` are enabled
    for ever.
    """

    saved = ("enabled", "latched", "active", "group1", "edge", "levels", "priorities")
    fixed = ("first", "count", "mask", "always", "locked_edge")

    def __init__(self, first: int, count: int, *, always: int = 0, locked_edge: int = 0):
        self.first, self.count = first, count
        self.mask = (1 << count) - 1
        self.always, self.locked_edge = always, locked_edge
        self.levels = 0
        self.reset()

    def reset(self) -> None:
        """Nothing is pending, active or, but for what always is, enabled; inputs stay as they
        are."""
        self.enabled, self.edge = self.always, self.locked_edge
        self.latched = self.active = self.group1 = 0
        self.priorities = bytearray(self.count)

    @property
    def pending(self) -> int:
        """What waits: latched, or high and no edge."""
        return self.latched | self.levels & ~self.edge

    @property
    def ready(self) -> int:
        """What waits, is enabled and not active."""
        return (self.latched | self.levels & ~self.edge) & self.enabled & ~self.active

    def drive(self, number: int, level: bool) -> bool:
        """The input of interrupt ``number`` has this level; whether that is news."""
        bit = 1 << number - self.first
        if bool(self.levels & bit) == level:
            return False
        self.levels ^= bit
        if level:
            self.latched |= bit & self.edge
        return True

    def acknowledge(self, number: int) -> None:
        """A CPU takes interrupt ``number``: it is active, and pending only if it still is high."""
        bit = 1 << number - self.first
        self.active |= bit
        self.latched &= ~bit

    def deactivate(self, number: int) -> None:
        """A CPU is done with interrupt ``number``."""
        self.active &= ~(1 << number - self.first)

    def best(self, candidates: int) -> tuple[int, int] | None:
        """Priority and number of the most urgent of ``candidates``, of equals the lowest number;
        None if there are none."""
        if not candidates:
            return None
        if not candidates & candidates - 1:  # the usual case: there is one
            bit = candidates.bit_length() - 1
            return self.priorities[bit], self.first + bit
        priorities = self.priorities
        bit = min(ones(candidates), key=priorities.__getitem__)
        return priorities[bit], self.first + bit

    def of_groups(self, bits: int, enables: int) -> int:
        """Those of ``bits`` whose group is enabled: bit 0 of ``enables`` is group 0."""
        if enables == 3 or not bits:
            return bits
        group0 = bits & ~self.group1 if enables & 1 else 0
        return group0 | (bits & self.group1 if enables & 2 else 0)

    # As 32-bit registers

    def word(self, bits: int, index: int) -> int:
        """The 32 bits of ``bits`` from interrupt ``32 * index`` of the bank on."""
        return bits >> 32 * index & 0xFFFF_FFFF

    def bits(self, index: int, written: int) -> int:
        """What ``written`` says of the interrupts that there are, from ``32 * index`` on."""
        return written << 32 * index & self.mask

    def config(self, index: int) -> int:
        """GICD_ICFGR: two bits for each of 16 interrupts, the upper one is 1 for an edge."""
        edge = self.edge >> 16 * index & 0xFFFF
        return sum(2 << 2 * bit for bit in ones(edge))

    def set_config(self, index: int, written: int) -> None:
        """Write GICD_ICFGR."""
        edge = sum(1 << bit for bit in range(16) if written >> 2 * bit & 2) << 16 * index
        changed = 0xFFFF << 16 * index & self.mask & ~self.locked_edge
        self.edge = self.edge & ~changed | edge & changed
