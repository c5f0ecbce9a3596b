"""Opening files below a folder, and never outside of it: openat2(2) of Linux 5.6.

Checking a path and opening it afterwards is a race that whoever may rename things below the folder
wins at some time; here the kernel checks while it walks.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

__all__ = ["held", "open_beneath"]

SYS_OPENAT2 = 437
"""The number of the system call, on all architectures."""

NO_MAGICLINKS, NO_SYMLINKS, BENEATH = 0x02, 0x04, 0x08
"""Values of ``resolve``: not even a link that stays below is followed."""

AT_ONCE = 3000
"""Bytes of a path handed to the kernel, which takes at most 4095."""

TRIES = 64
"""EAGAIN says that something was renamed or mounted somewhere on the host meanwhile."""


class OpenHow(ctypes.Structure):
    """``struct open_how`` of openat2(2)."""

    _fields_ = [  # as ctypes wants it
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    ]


_syscall = ctypes.CDLL(None, use_errno=True).syscall


def open_beneath(folder: int, names: Sequence[bytes], flags: int, mode: int = 0) -> int:
    """Open what ``names`` lead to from the descriptor ``folder`` on; no name is ``..`` or empty.

    No link is followed: one at the end can be opened with O_PATH. Raises OSError: ELOOP for a
    link, EXDEV for what would lead out.
    """
    start, rest = folder, list(names) or [b"."]
    try:
        while True:
            part = _first(rest)
            last = not rest
            found = _openat2(
                start,
                b"/".join(part),
                (flags if last else os.O_PATH | os.O_DIRECTORY) | os.O_NOFOLLOW | os.O_CLOEXEC,
                mode if last else 0,
            )
            if start != folder:
                os.close(start)
            start = found
            if last:
                return found
    except BaseException:
        if start != folder:
            os.close(start)
        raise


@contextmanager
def held(folder: int, names: Sequence[bytes], flags: int = os.O_PATH) -> Iterator[int]:
    """A context with the descriptor that `open_beneath` returns."""
    fd = open_beneath(folder, names, flags)
    try:
        yield fd
    finally:
        os.close(fd)


def _first(rest: list[bytes]) -> list[bytes]:
    """Take as many names from ``rest`` as go at once."""
    taken, left = [rest.pop(0)], AT_ONCE
    while rest and (left := left - len(rest[0]) - 1) > 0:
        taken.append(rest.pop(0))
    return taken


def _openat2(folder: int, path: bytes, flags: int, mode: int) -> int:
    how = OpenHow(flags, mode, BENEATH | NO_SYMLINKS | NO_MAGICLINKS)
    for _ in range(TRIES):
        fd: int = _syscall(SYS_OPENAT2, folder, path, ctypes.byref(how), ctypes.sizeof(how))
        if fd >= 0:
            return fd
        number = ctypes.get_errno()
        if number not in (errno.EAGAIN, errno.EINTR):
            break
    raise OSError(number, os.strerror(number), os.fsdecode(path))
