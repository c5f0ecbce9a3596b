"""Moving whole vectors of buffers to and from a file, however the kernel cuts them up."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

__all__ = ["read_vector", "split_vector", "write_vector"]

VECTOR_LIMIT = 1024
"""Buffers that one preadv or pwritev takes (IOV_MAX of Linux)."""


def read_vector(fd: int, offset: int, buffers: Sequence[memoryview]) -> None:
    """Fill ``buffers`` from ``offset`` on. Raises OSError, also if the file ends too early."""
    total = sum(map(len, buffers))
    done = os.preadv(fd, buffers[:VECTOR_LIMIT], offset)
    while done < total:
        count = os.preadv(fd, _rest(buffers, done)[:VECTOR_LIMIT], offset + done)
        if count == 0:
            raise OSError(errno.EIO, f"the file ends at byte {offset + done}")
        done += count


def write_vector(fd: int, offset: int, buffers: Sequence[memoryview]) -> None:
    """Store ``buffers`` from ``offset`` on. Raises OSError."""
    total = sum(map(len, buffers))
    done = os.pwritev(fd, buffers[:VECTOR_LIMIT], offset)
    while done < total:
        count = os.pwritev(fd, _rest(buffers, done)[:VECTOR_LIMIT], offset + done)
        if count == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done += count


def split_vector(
    buffers: Sequence[memoryview], length: int
) -> tuple[list[memoryview], list[memoryview]]:
    """The first ``length`` bytes of ``buffers``, and the rest."""
    first: list[memoryview] = []
    for at, buffer in enumerate(buffers):
        if length < len(buffer):
            tail = list(buffers[at:])
            if length:
                first.append(buffer[:length])
                tail[0] = buffer[length:]
            return first, tail
        first.append(buffer)
        length -= len(buffer)
    return first, []


def _rest(buffers: Sequence[memoryview], done: int) -> list[memoryview]:
    return split_vector(buffers, done)[1]
