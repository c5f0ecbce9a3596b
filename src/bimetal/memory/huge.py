"""Huge pages of the host for memory that lies in small ones."""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Iterator

from bimetal.base.sizes import MIB
from bimetal.memory.contents import PAGE, page_map, touched

__all__ = ["gather"]

HUGE = 2 * MIB
MADV_COLLAPSE = 25
"""Since Linux 6.1; Python has no name for it yet. See madvise(2)."""

AT_ONCE = 64 * MIB
"""Bytes whose page map is read at once, in some tenths of a millisecond."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def gather(address: int, size: int) -> Iterator[None]:
    """Have the host move what lies in anonymous memory of this process into huge pages, where at
    least half of one is there already: one of them at each step, which takes up to some
    milliseconds. Nothing happens on hosts that have none to give, nor on those that do not tell
    what is there: to gather memory that is not there would be to have all of it."""
    if page_map(address, PAGE) is None:
        return
    first, end = -(-address // HUGE) * HUGE, (address + size) // HUGE * HUGE
    for start in range(first, end, AT_ONCE):
        held = Counter[int]()
        for low, high in touched(start, min(AT_ONCE, end - start)):
            for piece in range(low // HUGE, -(-high // HUGE)):
                held[piece] += min(high, (piece + 1) * HUGE) - max(low, piece * HUGE)
        for piece, there in held.items():
            if 2 * there >= HUGE:
                _libc.madvise(start + piece * HUGE, HUGE, MADV_COLLAPSE)
                yield
