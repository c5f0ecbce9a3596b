"""The heap of the C library, which keeps what Python and LLVM have freed."""

from __future__ import annotations

import ctypes

__all__ = ["give_back_heap"]

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def give_back_heap() -> None:
    """Give the host back what is free. Where glibc is the C library, it keeps up to 64 MiB once a
    large block was freed, such as a kernel that was loaded (M_TRIM_THRESHOLD, mallopt(3)); others
    are left alone. It takes some milliseconds if there is much, and otherwise next to nothing."""
    if _trim is not None:
        _trim(ctypes.c_size_t(0))
