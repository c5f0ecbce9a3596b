"""How often Python's garbage collector runs in a process of our own."""

from __future__ import annotations

import gc

__all__ = ["collect_seldom"]

SELDOM = 150_000, 10, 10
"""Half as many again as there are objects that can be in cycles when a machine starts."""


def collect_seldom() -> None:
    """Have it wait for many more objects. By its usual thresholds it looks through all that is
    imported again and again, which takes a fifth of the time to a machine's start, and later holds
    up every thread that leaves native code."""
    gc.set_threshold(*SELDOM)
