"""A disk of which somebody hears before it changes: who copies it, say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from bimetal.backends.block.block import Block, Extent, Span
from bimetal.backends.block.file import ImageFile
from bimetal.base.buffers import total
from bimetal.base.transfers import Transfer

__all__ = ["WatchedDisk", "Watcher"]


class Watcher(Protocol):
    """Who hears of changes. The methods are not called by several threads at once unless the disk
    may be used by several."""

    def ready(self, offset: int, length: int) -> bool:
        """These bytes are about to change: whether they may at once. If not, nothing is done, and
        `before` is called later, where waiting is allowed."""

    def before(self, offset: int, length: int) -> None:
        """These bytes change as soon as this returns. It never fails."""


class WatchedDisk(Block):
    """The disk ``inner``, which is closed with it, and of whose changes ``watcher`` hears first."""

    def __init__(self, inner: Block, watcher: Watcher):
        self.inner, self._watcher = inner, watcher
        self.size, self.readonly, self.name = inner.size, inner.readonly, inner.name
        self.alone = inner.alone

    def readv(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """See `Block.readv`."""
        self.inner.readv(offset, buffers)

    def writev(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """See `Block.writev`."""
        self._watcher.before(offset, total(buffers))
        self.inner.writev(offset, buffers)

    def spans(self, offset: int, buffers: Sequence[memoryview]) -> Sequence[Span] | None:
        """See `Block.spans`."""
        return self.inner.spans(offset, buffers)

    def read_now(self, offset: int, buffers: Sequence[memoryview]) -> bool:
        """See `Block.read_now`."""
        return self.inner.read_now(offset, buffers)

    def write_now(self, offset: int, buffers: Sequence[memoryview]) -> bool:
        """See `Block.write_now`."""
        ready = self._watcher.ready(offset, total(buffers))
        return ready and self.inner.write_now(offset, buffers)

    def late(self, transfers: Sequence[Transfer]) -> Sequence[Callable[[], None]]:
        """See `Block.late`."""
        ready = self._watcher.ready
        if all(not each.writes or ready(each.offset, total(each.buffers)) for each in transfers):
            return self.inner.late(transfers)
        return super().late(transfers)

    def flushing(self) -> Callable[[], None] | None:
        """See `Block.flushing`."""
        return self.inner.flushing()

    def flush(self) -> None:
        """See `Block.flush`."""
        self.inner.flush()

    def hold(self) -> None:
        """See `Qcow2Image.hold`."""
        hold = getattr(self.inner, "hold", None)
        if hold is not None:
            hold()

    @property
    def unsettled(self) -> bool:
        """See `Qcow2Image.unsettled`."""
        return bool(getattr(self.inner, "unsettled", False))

    def settle(self) -> None:
        """See `Qcow2Image.settle`."""
        settle = getattr(self.inner, "settle", None)
        if settle is not None:
            settle()

    def rest(self) -> None:
        """See `Block.rest`."""
        self.inner.rest()

    def files(self) -> tuple[str, ...]:
        """See `Block.files`."""
        return self.inner.files()

    def images(self) -> tuple[ImageFile, ...]:
        """See `Block.images`."""
        return self.inner.images()

    @property
    def writes(self) -> bool:
        """See `Block.writes`."""
        return self.inner.writes

    def discard(self, offset: int, length: int) -> None:
        """See `Block.discard`."""
        self._watcher.before(offset, length)
        self.inner.discard(offset, length)

    def write_zeroes(self, offset: int, length: int, *, unmap: bool = False) -> None:
        """See `Block.write_zeroes`."""
        self._watcher.before(offset, length)
        self.inner.write_zeroes(offset, length, unmap=unmap)

    def extents(self, offset: int, length: int) -> Iterator[Extent]:
        """See `Block.extents`."""
        return self.inner.extents(offset, length)

    def close(self) -> None:
        """See `Block.close`."""
        self.inner.close()
