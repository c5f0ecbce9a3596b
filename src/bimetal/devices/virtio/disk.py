"""What the block device needs of a disk, and what some disks can do besides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.transfers import Transfer
from bimetal.memory.contents import Area

__all__ = [
    "ComingDisk",
    "Disk",
    "GroupingDisk",
    "LayeredDisk",
    "StackingDisk",
    "WaitingDisk",
    "check_forkable",
]


class Disk(Protocol):
    """What the device needs of a block back end; every method but `close` may raise OSError."""

    size: int
    readonly: bool
    name: str

    def readv(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """Fill the buffers from ``offset`` on."""

    def writev(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """Store the buffers from ``offset`` on."""

    def flush(self) -> None:
        """Make what was written safe."""

    def discard(self, offset: int, length: int) -> None:
        """The range is needed no more."""

    def write_zeroes(self, offset: int, length: int, *, unmap: bool = False) -> None:
        """Make the range zero."""

    def close(self) -> None:
        """Flush, and give everything back."""


@runtime_checkable
class GroupingDisk(Protocol):
    """A disk to which several writes together are less work than one after the other."""

    @property
    def unsettled(self) -> bool:
        """Whether `settle` has anything to do."""

    def hold(self) -> None:
        """Writes from now on belong together, and none is done before `settle`."""

    def settle(self) -> None:
        """Those writes are done. Raises OSError, and then none of them is."""


@runtime_checkable
class WaitingDisk(Disk, Protocol):
    """A disk that knows when it has to wait for the host, so that this can be done aside."""

    @property
    def alone(self) -> bool:
        """Whether nothing else may be done with it while something is done aside."""

    def read_now(self, offset: int, buffers: Sequence[memoryview]) -> bool:
        """`Disk.readv`, if that needs no waiting. If it returns False, the buffers hold anything.
        Raises OSError."""

    def write_now(self, offset: int, buffers: Sequence[memoryview]) -> bool:
        """`Disk.writev`, if that needs no waiting; if it returns False, nothing was done. Raises
        OSError."""

    def late(self, transfers: Sequence[Transfer]) -> Sequence[Callable[[], None]]:
        """What is to be called, by any threads and side by side, to have ``transfers`` done. None
        of it raises: errors are noted in them."""

    def flushing(self) -> Callable[[], None] | None:
        """What is still to be done, if anything, to make safe all that was written before, and may
        be called by any thread. Both raise OSError."""


@runtime_checkable
class LayeredDisk(Area, Protocol):
    """A disk whose guest writes to a temporary layer, which is an area of memory to a snapshot."""

    base: object


@runtime_checkable
class StackingDisk(Disk, Protocol):
    """A disk whose layer another one can lie on."""

    def stacked(self) -> StackingDisk:
        """A disk of the same content, of which this one is the base if anything was written to it;
        it is not written any more. Raises `BimetalError`."""

    def copied(self) -> StackingDisk:
        """Another one on the same base, to which nothing was written yet."""


@runtime_checkable
class ComingDisk(Disk, Protocol):
    """A disk that another machine still has."""

    def come(self) -> Disk:
        """The disk itself. Raises `BimetalError` if it cannot be had."""


def check_forkable(disk: Disk) -> None:
    """Raise `BimetalError` if two machines cannot have ``disk``, each in its own way."""
    if not (disk.readonly or isinstance(disk, StackingDisk)):
        raise BimetalError(
            f"the guest writes to {disk.name} itself, which two machines cannot do",
            "give the machine that disk with snapshot, or readonly",
            ExitCode.UNAVAILABLE,
        )
