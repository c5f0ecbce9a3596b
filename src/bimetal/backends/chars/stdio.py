"""The terminal, or the pipes, that the program was started with."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import stat
import sys
from collections.abc import Callable

from bimetal.backends.chars.channel import Channel
from bimetal.backends.chars.escape import HELP, EscapeAction, EscapeKey
from bimetal.backends.chars.inbox import Inbox
from bimetal.backends.chars.protocol import Receive, Room
from bimetal.backends.chars.terminal import RawMode
from bimetal.backends.reactor import Reactor
from bimetal.base.log import EventLog

__all__ = ["Stdio"]

SMALL = 512
"""Bytes that a pipe or terminal takes for sure once it says that it takes any (POSIX PIPE_BUF)."""


def _no_action(action: EscapeAction) -> None:
    """What an escape key does unless the program says otherwise."""


class Stdio:
    """Standard input and output as a serial line.

    If input is a terminal it is put into raw mode by `attach` and restored by `close` (and on
    every other way out, see `RawMode`), and Ctrl-A is the escape key; ``on_action`` hears about
    its QUIT and MONITOR. Input from a pipe or a file is passed on untouched.
    """

    def __init__(
        self,
        on_action: Callable[[EscapeAction], None] = _no_action,
        read_fd: int = 0,
        write_fd: int = 1,
    ):
        self._log = EventLog("chars.stdio")
        self._on_action = on_action
        self._inbox = Inbox()
        self._escape = EscapeKey()
        self.is_terminal = os.isatty(read_fd)
        self._raw = RawMode(read_fd) if self.is_terminal else None
        self._write_fd = write_fd
        # A stream that is closed now must stay unused: something else may get its number later.
        has_output = _is_open(write_fd)
        self._reopened = _reopen(write_fd) if has_output else None
        self._channel = Channel(
            self._log,
            self._inbox,
            read_fd if _is_open(read_fd) else None,
            (write_fd if has_output else None) if self._reopened is None else self._reopened,
            filtered=self._typed if self.is_terminal else None,
            send=self._sender() if has_output else os.write,
        )
        self._closed = False

    @property
    def size(self) -> tuple[int, int] | None:
        """Columns and rows of the terminal, or None if there is none."""
        try:
            size = os.get_terminal_size(self._write_fd)
        except OSError:
            return None
        return size.columns, size.lines

    def attach(self, reactor: Reactor) -> None:
        """Enter raw mode and let ``reactor`` run the terminal. Call it in the main thread, so
        that signals find the terminal restored."""
        if sys.stdout is not None:
            sys.stdout.flush()
        if self._raw is not None:
            self._raw.enter()
        self._channel.attach(reactor)

    def connect(self, receive: Receive, room: Room | None = None) -> None:
        """See `CharBackend.connect`."""
        self._inbox.connect(receive, room)

    def write(self, data: bytes) -> None:
        """See `CharBackend.write`."""
        self._channel.write(data)

    def resume(self) -> None:
        """See `CharBackend.resume`."""
        self._channel.resume()

    def close(self) -> None:
        """Send what waits and restore the terminal. Idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            self._channel.close()
        finally:
            if self._raw is not None:
                self._raw.leave()
            if self._reopened is not None:
                os.close(self._reopened)

    def _typed(self, data: bytes) -> None:
        """A person must be able to leave while the guest listens no more: so the escape key is
        looked for in everything, and what a deaf guest has no room for is lost."""
        for part in self._escape.feed(data):
            if isinstance(part, bytes):
                if self._inbox.put(part) < len(part):
                    self._log.host_error("input dropped, the guest does not read")
            elif part is EscapeAction.HELP:
                self.write(HELP.encode())
            else:
                self._on_action(part)

    def _sender(self) -> Callable[[int, bytes | bytearray], int]:
        mode = os.fstat(self._write_fd).st_mode
        if self._reopened is not None or stat.S_ISREG(mode):
            return os.write
        return _send_to_socket if stat.S_ISSOCK(mode) else _write_if_ready


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _reopen(fd: int) -> int | None:
    """A descriptor of our own for the terminal or pipe behind ``fd``, which does not block.

    O_NONBLOCK on ``fd`` itself would be shared with the shell that we inherited it from. A
    regular file never blocks and would lose its position; other things cannot be reopened.
    """
    mode = os.fstat(fd).st_mode
    if not (stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)):
        return None
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    with contextlib.suppress(OSError):
        return os.open(f"/proc/self/fd/{fd}", flags)
    return None


def _send_to_socket(fd: int, data: bytes | bytearray) -> int:
    with socket.socket(fileno=os.dup(fd)) as line:
        return line.send(data, socket.MSG_DONTWAIT)


def _write_if_ready(fd: int, data: bytes | bytearray) -> int:
    """For a descriptor that may block: ask first, and write what surely fits."""
    poller = select.poll()
    poller.register(fd, select.POLLOUT)
    if not poller.poll(0):
        raise BlockingIOError
    return os.write(fd, data[:SMALL])
