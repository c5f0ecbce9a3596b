"""Where regions are in memory: loading is copying (see `codegen.image`)."""

from __future__ import annotations

import mmap
from collections.abc import Sequence

from ..codegen.image import HEAD, code_in
from .vcpu_state import anonymous

__all__ = ["Loader"]

CHUNK = 16 << 20
"""Bytes of executable memory that are asked for at a time, in huge pages of the host: its TLB for
instructions has too few entries for the small ones of some hundred regions."""

ALIGNMENT = 64


class Loader:
    """Puts images into memory while others execute. They stay until `close`."""

    def __init__(self, stubs: Sequence[int]):
        """Have images jump to stubs at these addresses."""
        self._table = b"".join(address.to_bytes(8, "little") for address in stubs)
        self._chunks: list[mmap.mmap] = []
        self._base = self._next = self._end = 0

    def load(self, image: bytes) -> int:
        """Load an image; the address of the region in it. Raises ValueError if it is damaged, and
        OSError if there is no memory for it."""
        code = code_in(image)
        if self._next + len(image) > self._end:
            self._grow(max(CHUNK, len(image)))
        at = self._next
        self._next = at + len(image) + -len(image) % ALIGNMENT
        # The table is complete before the region can be entered.
        self._chunks[-1][at : at + len(image)] = self._table.ljust(HEAD, b"\0") + code
        return self._base + at + HEAD

    def _grow(self, size: int) -> None:
        chunk, self._base = anonymous(size, executable=True, huge=True)
        self._chunks.append(chunk)
        self._next, self._end = 0, size

    def close(self) -> None:
        """Free everything that was loaded: none of it may be executed any more."""
        for chunk in self._chunks:
            chunk.close()
        self._chunks.clear()
        self._next = self._end = 0
