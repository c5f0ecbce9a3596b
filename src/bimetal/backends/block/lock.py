"""Advisory locks, so that two machines do not write one image.

The locks are those of open file descriptions (fcntl(2), F_OFD_SETLK): they end with the
descriptor, even after kill -9. Their layout is the one that QEMU uses, so that its machines and
ours respect each other: a lock on byte 100 + p says "I do p to this image", a lock on byte
200 + p says "I cannot bear others doing p". All locks are shared ones; whether a wish clashes is
found out by asking who holds the other byte.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

__all__ = ["LocksUnsupported", "lock_image"]

READ, WRITE, RESIZE = 0, 1, 3
"""What can be done to an image, as bit numbers of the layout."""

DOES = 100
FORBIDS = 200

_FLOCK = struct.Struct("@hhqqi4x")
"""struct flock of 64-bit Linux: type, whence, start, length, pid."""

_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS})


class LocksUnsupported(OSError):
    """The file system has no locks."""


def lock_image(fd: int, *, writing: bool) -> None:
    """Say that we read, or also write, the image ``fd`` and that nobody else may write it.

    The lock lasts as long as the descriptor. Raises BlockingIOError if another process (or
    another opening in this one) stands against it, and `LocksUnsupported`.
    """
    does = {READ, WRITE} if writing else {READ}
    forbids = {WRITE, RESIZE}
    try:
        for number in does:
            _set(fd, DOES + number)
        for number in forbids:
            _set(fd, FORBIDS + number)
        # First announce, then ask: of two that come at once, both may yield but not both stay.
        taken = any(_held_by_others(fd, FORBIDS + number) for number in does) or any(
            _held_by_others(fd, DOES + number) for number in forbids
        )
    except BlockingIOError:
        taken = True  # someone holds an exclusive lock, which this layout never takes
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            raise LocksUnsupported(error.errno, error.strerror) from error
        raise
    if taken:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def _set(fd: int, byte: int) -> None:
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, byte, 1, 0))


def _held_by_others(fd: int, byte: int) -> bool:
    wish = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
    kind: int = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_OFD_GETLK, wish))[0]
    return kind != fcntl.F_UNLCK
