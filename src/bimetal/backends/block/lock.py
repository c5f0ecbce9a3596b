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

__all__ = ["LocksUnsupported", "has_locks", "lock_image", "share_image", "unlock_image"]

READ, WRITE, RESIZE = 0, 1, 3
"""What can be done to an image, as bit numbers of the layout."""

DOES = 100
FORBIDS = 200

_FLOCK = struct.Struct("@hhqqi4x")
"""struct flock of 64-bit Linux: type, whence, start, length, pid."""

_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS})


class LocksUnsupported(OSError):
    """The file system has no locks."""


def lock_image(fd: int, *, writing: bool, in_place_of: int | None = None) -> None:
    """Say that we read, or also write, the image ``fd`` and that nobody else may write it.

    The lock lasts as long as the descriptor. With ``in_place_of`` another descriptor of the image
    gives up the lock that it has for reading, and has it again if this one gets none: at no moment
    may anybody else write.

    Raises BlockingIOError if another process (or another opening in this one) stands against it,
    and `LocksUnsupported`.
    """
    try:
        _lock(fd, writing, in_place_of)
    except BlockingIOError:
        if in_place_of is not None:
            _announce(in_place_of, writing=False)
        raise


def share_image(fd: int) -> None:
    """Give up the part of the lock that says that we write ``fd``, or nothing if there is none."""
    try:
        _set(fd, DOES + WRITE, fcntl.F_UNLCK)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


def _announce(fd: int, *, writing: bool) -> tuple[set[int], set[int]]:
    """Set the locks; what we do, and what we forbid."""
    does = {READ, WRITE} if writing else {READ}
    forbids = {WRITE, RESIZE}
    for number in does:
        _set(fd, DOES + number)
    for number in forbids:
        _set(fd, FORBIDS + number)
    return does, forbids


def _lock(fd: int, writing: bool, in_place_of: int | None) -> None:
    try:
        does, forbids = _announce(fd, writing=writing)
        if in_place_of is not None:
            unlock_image(in_place_of)
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


def unlock_image(fd: int) -> None:
    """Let others do with the image what they like. Raises OSError."""
    for number in (READ, WRITE, RESIZE):
        _set(fd, DOES + number, fcntl.F_UNLCK)
        _set(fd, FORBIDS + number, fcntl.F_UNLCK)


def has_locks(fd: int) -> bool:
    """Whether the file system of ``fd`` has such locks. Raises OSError."""
    try:
        _held_by_others(fd, FORBIDS + WRITE)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return False
        raise
    return True


def _set(fd: int, byte: int, kind: int = fcntl.F_RDLCK) -> None:
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, byte, 1, 0))


def _held_by_others(fd: int, byte: int) -> bool:
    wish = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
    kind: int = _FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_OFD_GETLK, wish))[0]
    return kind != fcntl.F_UNLCK
