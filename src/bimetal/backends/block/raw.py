"""Raw images: a file, or a block device, whose bytes are the disk's bytes."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

from bimetal.backends.block.block import SECTOR, Block
from bimetal.backends.block.holes import Holes
from bimetal.backends.block.lock import LocksUnsupported, lock_image
from bimetal.backends.block.vector import read_vector, write_vector
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.log import EventLog

__all__ = ["RawImage"]

ZEROES = bytes(1 << 20)


class RawImage(Block):
    """The image at ``path``, locked against other machines unless ``lock`` is False.

    Writes go through the page cache of the host and are made safe by `flush`. Raises
    `BimetalError` for an image that is missing, not to be opened, not a disk, or in use.
    """

    def __init__(self, path: str, *, readonly: bool = False, lock: bool = True):
        self.name, self.readonly = path, readonly
        self._log = EventLog(f"block.{path}")
        self._fd = _open(path, readonly)
        try:
            mode = os.fstat(self._fd).st_mode
            self.size = _size(path, self._fd, mode)
            if lock:
                self._lock()
        except BaseException:
            os.close(self._fd)
            raise
        self._block_device = stat.S_ISBLK(mode)
        self._holes = Holes(self._fd, block_device=self._block_device)
        self._lost: OSError | None = None
        self._closed = False

    def readv(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """See `Block.readv`."""
        read_vector(self._fd, offset, buffers)

    def writev(self, offset: int, buffers: Sequence[memoryview]) -> None:
        """See `Block.writev`."""
        write_vector(self._fd, offset, buffers)

    def flush(self) -> None:
        """See `Block.flush`.

        After a failure every later flush fails too: the kernel drops the pages that it could not
        write, reports that once, and would call the next flush a success (fsync(2), "errors").
        """
        if self._lost is not None:
            raise OSError(self._lost.errno, f"an earlier flush failed: {self._lost.strerror}")
        if self.readonly:
            return
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            self._lost = error
            raise

    def discard(self, offset: int, length: int) -> None:
        """See `Block.discard`. Does nothing where the host cannot."""
        if length:
            self._holes.punch(offset, length)

    def write_zeroes(self, offset: int, length: int, *, unmap: bool = False) -> None:
        """See `Block.write_zeroes`."""
        if not length:
            return
        if unmap and not self._block_device and self._holes.punch(offset, length):
            return
        if self._holes.zero(offset, length):
            return
        zeroes = memoryview(ZEROES)
        for start in range(offset, offset + length, len(ZEROES)):
            write_vector(self._fd, start, [zeroes[: offset + length - start]])

    def close(self) -> None:
        """See `Block.close`. A failing flush is reported as an event of the host."""
        if self._closed:
            return
        self._closed = True
        try:
            self.flush()
        except OSError as error:
            self._log.host_error("the last writes may be lost", str(error))
        finally:
            os.close(self._fd)

    def _lock(self) -> None:
        try:
            lock_image(self._fd, writing=not self.readonly)
        except BlockingIOError as error:
            raise BimetalError(
                f"the disk image {self.name!r} is in use by another machine",
                "end that machine, or open the image with snapshot or readonly in both",
                ExitCode.UNAVAILABLE,
            ) from error
        except LocksUnsupported:
            self._log.host_error("no locks on this file system: do not start a second machine")


def _open(path: str, readonly: bool) -> int:
    flags = os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK | (os.O_RDONLY if readonly else os.O_RDWR)
    try:
        if not readonly and stat.S_ISBLK(os.stat(path).st_mode):
            flags |= os.O_EXCL  # refuses a device that the host has mounted
        return os.open(path, flags)
    except OSError as error:
        raise _cannot_open(path, error) from error


def _cannot_open(path: str, error: OSError) -> BimetalError:
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return BimetalError(
                f"there is no disk image {path!r}",
                "check the path, or make an empty image with: truncate -s 8G PATH",
                ExitCode.NO_INPUT,
            )
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return BimetalError(
                f"the disk image {path!r} may not be opened: {error.strerror}",
                "change its permissions, or open it with readonly or snapshot",
                ExitCode.NO_PERMISSION,
            )
        case errno.EBUSY:
            return BimetalError(
                f"the block device {path!r} is in use by the host",
                "unmount it first, or open it with readonly",
                ExitCode.UNAVAILABLE,
            )
        case errno.EISDIR:
            return _not_a_disk(path, "a folder")
    return BimetalError(
        f"the disk image {path!r} cannot be opened: {error.strerror}", "", ExitCode.NO_INPUT
    )


def _size(path: str, fd: int, mode: int) -> int:
    """The size in bytes. Raises `BimetalError` for what is not a disk."""
    if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
        raise _not_a_disk(path, "a folder" if stat.S_ISDIR(mode) else "neither file nor disk")
    size = os.lseek(fd, 0, os.SEEK_END)
    if size == 0:
        raise BimetalError(
            f"the disk image {path!r} is empty",
            f"give it a size: truncate -s 8G {path}",
            ExitCode.DATA,
        )
    if size % SECTOR:
        raise BimetalError(
            f"the disk image {path!r} has {size} bytes, not a whole number of {SECTOR}-byte "
            "sectors: it may have been cut off",
            f"copy it again, or pad it: truncate -s %{SECTOR} {path}",
            ExitCode.DATA,
        )
    return size


def _not_a_disk(path: str, what: str) -> BimetalError:
    return BimetalError(
        f"{path!r} is {what}, not a disk image", "name a file or a block device", ExitCode.DATA
    )
