"""Descriptors that were inherited: how to use them without changing them for others."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import stat
from collections.abc import Callable

__all__ = ["Inherited", "heard_within"]

SMALL = 512
"""Bytes that a pipe or terminal takes for sure once it says that it takes any (POSIX PIPE_BUF)."""


class Inherited:
    """The terminal, pipe or file behind ``number``, a descriptor that others have too.

    ``fd`` is to be used for it, and does not block if that can be had without changing it for
    others; None if the descriptor is closed: it must stay unused then, as something else may get
    its number later. ``access`` is O_RDONLY or O_WRONLY.
    """

    def __init__(self, number: int, access: int):
        self.is_terminal = os.isatty(number)
        self.is_pipe = False
        self.send: Callable[[int, bytes | bytearray], int] = os.write
        self.fd: int | None = None
        self._own: int | None = None
        with contextlib.suppress(OSError):
            mode = os.fstat(number).st_mode
            self.is_pipe = stat.S_ISFIFO(mode)
            self._own = _reopen(number, mode, access)
            self.fd = number if self._own is None else self._own
            if self._own is None and not stat.S_ISREG(mode):
                self.send = _send_to_socket if stat.S_ISSOCK(mode) else _write_if_ready

    def close(self) -> None:
        """Give back what is ours. Idempotent."""
        if self._own is not None:
            os.close(self._own)
            self.fd = self._own = None


def _reopen(fd: int, mode: int, access: int) -> int | None:
    """A descriptor of our own for what is behind ``fd``, which does not block.

    O_NONBLOCK on ``fd`` itself would be shared with the shell that we inherited it from. A
    regular file never blocks and would lose its position; other things cannot be reopened.
    """
    if not (stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)):
        return None
    flags = access | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    with contextlib.suppress(OSError):
        return os.open(f"/proc/self/fd/{fd}", flags)
    return None


def _send_to_socket(fd: int, data: bytes | bytearray) -> int:
    with socket.socket(fileno=os.dup(fd)) as line:
        return line.send(data, socket.MSG_DONTWAIT)


def heard_within(fd: int, seconds: float) -> bool:
    """Whether within some seconds there is something to be read, or the other end is gone."""
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(1000 * seconds))


def _write_if_ready(fd: int, data: bytes | bytearray) -> int:
    """For a descriptor that may block: ask first, and write what surely fits."""
    poller = select.poll()
    poller.register(fd, select.POLLOUT)
    if not poller.poll(0):
        raise BlockingIOError
    return os.write(fd, data[:SMALL])
