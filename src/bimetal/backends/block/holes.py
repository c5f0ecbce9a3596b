"""Giving space back to the host, and writing zeroes without writing them.

Through ioctl(2) rather than fallocate(2), which Python does not offer: Linux answers the ones
that once were XFS's for regular files of every file system (fs/ioctl.c), and block devices have
their own.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterator

__all__ = ["Holes", "runs"]

FS_IOC_UNRESVSP64 = 0x4030582B
FS_IOC_ZERO_RANGE = 0x40305839
BLKDISCARD = 0x1277
BLKZEROOUT = 0x127F

_SPACE_RESERVATION = struct.Struct("@hhqqiI4i")
"""struct space_resv: type, whence, start, length, and fields that are not used."""

_RANGE = struct.Struct("@QQ")
"""A block device's range: start and length."""

_UNSUPPORTED = frozenset({errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


def runs(fd: int, start: int, stop: int) -> Iterator[tuple[int, int, bool]]:
    """Cut a range of a file where holes begin and end: (start, stop, whether there is data). What
    lies behind its end is a hole. Raises OSError."""
    while start < stop:
        data = min(_seek(fd, start, os.SEEK_DATA, stop), stop)
        if start < data:
            yield start, data, False
        hole = min(_seek(fd, data, os.SEEK_HOLE, stop), stop) if data < stop else stop
        if data < hole:
            yield data, hole, True
        start = hole


def _seek(fd: int, offset: int, what: int, stop: int) -> int:
    """Where data, or a hole, begins from ``offset`` on; ``stop`` if nowhere."""
    try:
        return os.lseek(fd, offset, what)
    except OSError as error:
        if error.errno == errno.ENXIO:  # behind the last data
            return stop
        if error.errno == errno.EINVAL:  # devices, and file systems without holes
            return offset if what == os.SEEK_DATA else stop
        raise


class Holes:
    """The two operations on one file or block device. What it refuses once is not tried again.

    Each returns whether it was done; False means that the caller must find another way.
    Both raise OSError for failures such as EIO and ENOSPC.
    """

    def __init__(self, fd: int, *, block_device: bool):
        self._fd, self._block_device = fd, block_device
        self._can = {"punch": True, "zero": True}

    def punch(self, offset: int, length: int) -> bool:
        """Give the space back. Files read as zeroes there afterwards, block devices may not."""
        return self._do(
            "punch", BLKDISCARD if self._block_device else FS_IOC_UNRESVSP64, offset, length
        )

    def zero(self, offset: int, length: int) -> bool:
        """Make the range zero and keep its space."""
        return self._do(
            "zero", BLKZEROOUT if self._block_device else FS_IOC_ZERO_RANGE, offset, length
        )

    def _do(self, what: str, request: int, offset: int, length: int) -> bool:
        if not self._can[what]:
            return False
        if self._block_device:
            argument = _RANGE.pack(offset, length)
        else:
            argument = _SPACE_RESERVATION.pack(0, 0, offset, length, 0, 0, 0, 0, 0, 0)
        try:
            fcntl.ioctl(self._fd, request, argument)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            self._can[what] = False
        return self._can[what]
