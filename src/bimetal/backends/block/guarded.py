"""Raw images that nobody called raw, where that cannot be written down either."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from bimetal.backends.block.raw import RawImage
from bimetal.backends.block.signatures import EDGE, recognise
from bimetal.base.buffers import split, total

__all__ = ["GuardedRawImage"]


class GuardedRawImage(RawImage):
    """A raw image to which a guest cannot write what would make another format of it.

    Tomorrow nothing but its content could tell what it is, so such a write is an I/O error, as it
    is in QEMU. Where the user says that the image is raw there is no need of this.
    """

    def writev(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """See `Block.writev`."""
        if offset < EDGE or offset + total(buffers) > self.size - EDGE:
            buffers = self._checked(offset, buffers)
        super().writev(offset, buffers)

    def _checked(self, offset: int, buffers: Sequence[memoryview]) -> list[memoryview]:
        """The same bytes, checked where they tell a format. Those are copies: a guest could
        change its memory between the check and the write."""
        length = total(buffers)
        at_head = length if self.size <= 2 * EDGE else min(max(EDGE - offset, 0), length)
        at_tail = min(max(offset + length - (self.size - EDGE), 0), length - at_head)
        first, rest = split(buffers, at_head)
        between, last = split(rest, length - at_head - at_tail)
        head, tail = b"".join(first), b"".join(last)
        self._check(offset, head)
        self._check(offset + length - at_tail, tail)
        return [memoryview(head), *between, memoryview(tail)]

    def _check(self, offset: int, data: bytes) -> None:
        """Raise OSError if ``data`` at ``offset`` makes the image look like something else."""
        kind = recognise(
            self._edge(0, offset, data), self._edge(max(self.size - EDGE, 0), offset, data)
        )
        if kind is not None:
            raise OSError(
                errno.EPERM,
                f"the guest would make {kind.what} of this raw image: add format=raw to let it",
            )

    def _edge(self, start: int, offset: int, data: bytes) -> bytes:
        """The `EDGE` bytes from ``start`` on as ``data`` at ``offset`` would leave them; none if
        it does not touch them."""
        stop = min(start + EDGE, self.size)
        first, last = max(start, offset), min(stop, offset + len(data))
        if first >= last:
            return b""
        edge = bytearray(self.read(start, stop - start))
        edge[first - start : last - start] = data[first - offset : last - offset]
        return bytes(edge)
