"""Order among accesses to memory that CPUs are using at the same time.

A device that shares a ring with a running guest relies on the order in which the two sides see
each other's accesses (virtio 1.2, 2.7.13). Python has no fence of its own, but its locks are made
of atomic instructions, and those order what stands around them.
"""

from __future__ import annotations

import platform
from threading import Lock

__all__ = ["barrier", "order_loads_and_stores"]

_first = Lock()
_second = Lock()


def _two_locks() -> None:
    """Where locks only acquire and release (AArch64, RISC-V, POWER), the release of the first and
    the acquisition of the second are ordered between themselves and so order what lies on both
    sides."""
    with _first:
        pass
    with _second:
        pass


def _one_lock() -> None:
    """An acquisition is a locked instruction, a full barrier, on x86-64."""
    with _first:
        pass


def _nothing() -> None:
    """x86 keeps loads in order, and stores in order (Intel SDM volume 3, 9.2.2)."""


_X86 = platform.machine() in ("x86_64", "AMD64")

barrier = _one_lock if _X86 else _two_locks
"""Let every access before this call happen before every access after it."""

order_loads_and_stores = _nothing if _X86 else _two_locks
"""Let loads before it happen before loads after it, and stores before it before stores after it."""
