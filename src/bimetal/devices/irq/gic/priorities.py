"""What a CPU handles: active priorities, and who may interrupt whom.

Interrupts of higher urgency (lower numbers) interrupt those of lower urgency; which bits of a
priority count for that, the binary point says (IHI 0048B, 3.3.3; IHI 0069H, 4.8.3).
"""

from __future__ import annotations

from bimetal.base.state import Stateful

__all__ = ["IDLE", "ActivePriorities"]

IDLE = 0x100
"""The running priority of a CPU that handles no interrupt: lower than every priority."""


class ActivePriorities(Stateful):
    """The priorities that one CPU handles, by group (0 and 1): a bit for each level of preemption.

    A level has the ``bits`` upper bits of a priority.
    """

    saved = ("groups",)
    fixed = ("bits", "shift", "mask")

    def __init__(self, bits: int):
        self.bits = bits
        self.shift = 8 - bits
        self.mask = (1 << (1 << bits)) - 1
        self.groups = [0, 0]

    def reset(self) -> None:
        """Nothing is handled."""
        self.groups = [0, 0]

    @property
    def running(self) -> int:
        """The most urgent priority that is handled, or `IDLE`."""
        active = self.groups[0] | self.groups[1]
        return ((active & -active).bit_length() - 1 << self.shift) if active else IDLE

    def leads(self, group: int) -> bool:
        """Whether the most urgent priority that is handled is one of that group's."""
        bits = self.groups[group]
        return bool(bits) and (bits & -bits).bit_length() - 1 << self.shift == self.running

    def admits(self, priority: int, point: int) -> bool:
        """Whether an interrupt of this priority may interrupt what is handled; the bits below
        bit ``point`` do not count."""
        active = self.groups[0] | self.groups[1]
        if not active:
            return True
        return priority >> point < ((active & -active).bit_length() - 1 << self.shift) >> point

    def begin(self, priority: int, group: int, point: int) -> None:
        """Handle an interrupt of that priority and group."""
        level = (priority >> point << point) >> self.shift
        self.groups[group] |= 1 << level

    def end(self, group: int) -> None:
        """The most urgent handler of that group is done."""
        self.groups[group] &= self.groups[group] - 1 if self.groups[group] else 0

    def word(self, group: int, index: int) -> int:
        """GICC_APRn, GICC_NSAPRn, ICC_AP0Rn, ICC_AP1Rn."""
        return self.groups[group] >> 32 * index & 0xFFFF_FFFF

    def set_word(self, group: int, index: int, written: int) -> None:
        """Write one of them."""
        kept = self.groups[group] & ~(0xFFFF_FFFF << 32 * index)
        self.groups[group] = (kept | written << 32 * index) & self.mask
