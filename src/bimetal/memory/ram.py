"""Host memory that guests see as RAM, ROM or a flash array."""

from __future__ import annotations

import ctypes
import mmap
import os
from contextlib import suppress

from bimetal.base.bits import is_aligned
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.sizes import MIB, format_size

__all__ = ["PAGE_SIZE", "Ram"]

PAGE_SIZE = 4096


class Ram:
    """``size`` zero bytes of host memory at a fixed address, from the host's page allocator.

    ``host`` is the address of the first byte in this process, a multiple of 4096. ``bytes`` is
    the memory itself, writable also where ``readonly`` tells that guests must not write.
    The host gives pages as they are touched. Private and anonymous rather than a memfd, because
    only then do hosts back it with huge pages by default.
    """

    def __init__(self, name: str, size: int, *, readonly: bool = False):
        if size <= 0 or not is_aligned(size, PAGE_SIZE):
            raise ValueError(f"{name}: size {size:#x} is not a positive multiple of {PAGE_SIZE:#x}")
        self.name, self.size, self.readonly = name, size, readonly
        try:
            self._map = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no host has"
            raise BimetalError(
                f"the host has no {format_size(size)} of memory for {name}: {reason}",
                f"give the machine less memory: the host has {format_size(_host_memory())} in all",
                ExitCode.USAGE,
            ) from error
        with suppress(OSError):  # a host kernel without huge pages says EINVAL
            self._map.madvise(mmap.MADV_HUGEPAGE)
        self.host = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        self.bytes = memoryview(self._map)

    def __repr__(self) -> str:
        return f"Ram({self.name!r}, {format_size(self.size)})"

    def clear(self) -> None:
        """Make every byte zero again and give the pages back to the host."""
        self._map.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        """Give the memory back at once. Idempotent.

        Whoever still holds a view of it finds zeros.
        """
        self.bytes.release()
        if not self._map.closed:
            self.clear()
            with suppress(BufferError):  # then the last view to go takes the addresses with it
                self._map.close()


def _host_memory() -> int:
    """Bytes of the host's memory, in whole MiB."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // MIB * MIB
