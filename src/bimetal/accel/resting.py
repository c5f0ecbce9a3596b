"""When a guest has nothing to do, so that what was prepared for its code can be given back: decoded
pages are nine times as large as the code in them, and an idle guest executes few of them again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from ..memory.heap import give_back_heap

__all__ = ["Resting", "give_back"]

PERIOD = 2.0
"""Seconds for which a guest has to be idle."""

FEW = 60
"""Samples in that time up to which it is: a million instructions."""

WORTH = 64
"""Decoded pages that are worth giving back."""


class Decoding(Protocol):
    """A vCPU that has decoded pages."""

    def pages(self) -> int:
        """How many it has."""

    def give_back(self) -> None:
        """Have them forgotten at the next safe point."""


class Resting:
    """Tells when vCPUs are idle, and have decoded more than they need then."""

    def __init__(self) -> None:
        self._since, self._samples = 0.0, 0
        self._needed: int | None = 0
        """Decoded pages that are needed while idle; None until these have been decoded again."""

    def due(self, samples: int, now: float) -> bool:
        """Whether, after a look that found so many samples, the guest has been idle for a period:
        true once for each such period. ``now`` is in seconds."""
        self._samples += samples
        if now < self._since + PERIOD:
            return False
        idle = self._since > 0 and self._samples <= FEW
        self._since, self._samples = now, 0
        return idle

    def pays(self, vcpus: Iterable[Decoding]) -> bool:
        """Whether idle vCPUs should give back what they have decoded: it is much more than what
        they needed in the period after they last did."""
        pages = sum(vcpu.pages() for vcpu in vcpus)
        if self._needed is None:
            self._needed = pages
        if pages <= self._needed + WORTH:
            return False
        self._needed = None
        return True


def give_back(vcpus: Iterable[Decoding]) -> None:
    """Give the host back what vCPUs have decoded, and what was freed."""
    for vcpu in vcpus:
        vcpu.give_back()
    give_back_heap()
