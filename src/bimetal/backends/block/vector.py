"""Moving whole vectors of buffers to and from a file, however the kernel cuts them up."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from bimetal.base.buffers import split, total

__all__ = ["ZEROES", "PromptReader", "read_vector", "write_vector"]

ZEROES = b"\0" * (1 << 20)
"""For writing zeroes. Its memory has been written to, as that of ``bytes(1 << 20)`` has not: when a
process is killed in a write, the kernel stops where it would have to fetch a page of the source.
That is in the middle of a sector, half of which would be written."""

VECTOR_LIMIT = 1024
"""Buffers that one preadv or pwritev takes (IOV_MAX of Linux)."""


def read_vector(fd: int, offset: int, buffers: Sequence[memoryview]) -> None:
    """Fill ``buffers`` from ``offset`` on. Raises OSError, also if the file ends too early."""
    length = total(buffers)
    done = os.preadv(fd, buffers[:VECTOR_LIMIT], offset)
    while done < length:
        count = os.preadv(fd, split(buffers, done)[1][:VECTOR_LIMIT], offset + done)
        if count == 0:
            raise OSError(errno.EIO, f"the file ends at byte {offset + done}")
        done += count


class PromptReader:
    """Reads from the file ``fd`` what the host has in memory."""

    def __init__(self, fd: int):
        self.fd = fd
        self._never_waits = False
        """Whether the file system, or the device, cannot be asked what it has in memory."""

    def __call__(self, offset: int, buffers: Sequence[memoryview]) -> bool:
        """Fill ``buffers`` from ``offset`` on, or return False if that takes waiting. Where that
        cannot be known, it is waited for. Raises OSError."""
        if self._never_waits:
            read_vector(self.fd, offset, buffers)
            return True
        try:
            count = os.preadv(self.fd, buffers[:VECTOR_LIMIT], offset, os.RWF_NOWAIT)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            self._never_waits = True
            return self(offset, buffers)
        return count == total(buffers)


def write_vector(fd: int, offset: int, buffers: Sequence[memoryview]) -> None:
    """Store ``buffers`` from ``offset`` on. Raises OSError."""
    length = total(buffers)
    done = os.pwritev(fd, buffers[:VECTOR_LIMIT], offset)
    while done < length:
        count = os.pwritev(fd, split(buffers, done)[1][:VECTOR_LIMIT], offset + done)
        if count == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done += count
