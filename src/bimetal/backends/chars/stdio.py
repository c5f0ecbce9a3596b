"""The terminal, or the pipes, that the program was started with."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable

from bimetal.backends.chars.channel import Channel
from bimetal.backends.chars.descriptors import Inherited
from bimetal.backends.chars.escape import HELP, EscapeAction, EscapeKey
from bimetal.backends.chars.foreground import Foreground
from bimetal.backends.chars.inbox import Inbox
from bimetal.backends.chars.piped import PipedInput
from bimetal.backends.chars.protocol import Receive, Room
from bimetal.backends.chars.screen import Screen
from bimetal.backends.chars.size import TerminalSize, size_of
from bimetal.backends.chars.terminal import RawMode
from bimetal.backends.reactor import Reactor, Watch
from bimetal.base.lasting import lasts, undone
from bimetal.base.log import EventLog

__all__ = ["Stdio"]


def _no_action(action: EscapeAction) -> None:
    """What an escape key does unless the program says otherwise."""


def _nothing() -> None:
    """What happens when the reader has gone unless the program says otherwise."""


class Stdio:
    """Standard input and output as a serial line.

    If input is a terminal it is put into raw mode by `attach`, or as soon as we are in its
    foreground, and restored by `close` (and on every other way out, see `RawMode`), and Ctrl-A is
    the escape key; ``on_action`` hears about its QUIT. Input from a pipe or a file is passed on
    untouched, unless ``piped`` is told more of the guest. If output is a terminal, what the guest
    did to its screen is undone by `close`. ``on_gone`` is called when output is a pipe or a socket
    that nobody reads any more.
    """

    where = ""

    def __init__(
        self,
        on_action: Callable[[EscapeAction], None] = _no_action,
        read_fd: int = 0,
        write_fd: int = 1,
        *,
        on_gone: Callable[[], None] = _nothing,
    ):
        self._log = EventLog("chars.stdio")
        self._on_action, self._on_gone = on_action, on_gone
        self._write_fd = write_fd
        self._source = Inherited(read_fd, os.O_RDONLY)
        self._sink = Inherited(write_fd, os.O_WRONLY)
        self._inbox = Inbox()
        self._escape = EscapeKey()
        self.is_terminal = self._source.is_terminal
        self.piped = PipedInput(self._inbox, self._listen)
        raw = RawMode(read_fd, self._stop, self._go_on)
        self._terminal = Foreground(raw, self._listen) if self.is_terminal else None
        self._screen = Screen() if self._sink.is_terminal else None
        self._channel = Channel(
            self._log,
            self._inbox,
            self._source.fd,
            self._sink.fd,
            filtered=self._typed if self.is_terminal else None,
            read=self.piped.read if self._terminal is None else self._terminal.read,
            send=self._sink.send,
            on_end=_nothing if self.is_terminal else self.piped.end,
            on_gone=on_gone,
        )
        self._reactor: Reactor | None = None
        self._reader: Watch | None = None
        self._size: TerminalSize | None = None
        self._away: Screen | None = None
        """The guest's screen while the terminal is not ours; what it does then is in the other."""
        self._closed = False

    @property
    def size(self) -> tuple[int, int] | None:
        """Columns and rows of the terminal, or None if there is none."""
        return size_of(self._write_fd)

    def follow_size(self, tell: Callable[[int, int], None]) -> None:
        """Have ``tell`` called with each new `size`. Before `attach`; once."""
        self._size = TerminalSize(self._write_fd, tell)

    def attach(self, reactor: Reactor) -> None:
        """Enter raw mode and let ``reactor`` run the terminal. Call it in the main thread, so
        that signals find the terminal restored. Raises `BimetalError` if another one has it."""
        if sys.stdout is not None:
            sys.stdout.flush()
        if self._terminal is not None:
            self._terminal.enter()
        self._reactor = reactor
        self._channel.attach(reactor)
        if self._screen is not None:
            lasts(self._give_screen_back)
        if self._size is not None:
            self._size.attach(reactor)
        if self._terminal is not None:
            self._terminal.attach(reactor)
        else:
            self.piped.attach(reactor, closed=self._source.fd is None)
        if self._sink.is_pipe and self._sink.fd != self._write_fd:
            # A pipe is never readable at its writing end, but for the error that nobody reads it.
            self._reader = reactor.watch(self._write_fd, on_readable=self._reader_left)

    def connect(self, receive: Receive, room: Room | None = None) -> None:
        """See `CharBackend.connect`."""
        self._inbox.connect(receive, room)

    def write(self, data: bytes) -> None:
        """See `CharBackend.write`."""
        if self._screen is not None:
            self._screen.feed(data)
        self._channel.write(data)
        self.piped.show(data)

    def resume(self) -> None:
        """See `CharBackend.resume`."""
        self._channel.resume()

    def close(self) -> None:
        """Send what waits, and restore screen and terminal. Idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            self.piped.close()
            if self._size is not None:
                self._size.close()
            if self._reader is not None:
                self._reader.close()
            self._channel.write(self._screen_put_right())
            self._channel.close()
        finally:
            undone(self._give_screen_back)
            if self._terminal is not None:
                self._terminal.close()
            self._source.close()
            self._sink.close()

    def _listen(self, wanted: bool) -> None:
        if wanted:
            self._take_screen_back()
            if self._size is not None:
                self._size.look()
        self._channel.listen(wanted)

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

    def _reader_left(self) -> None:
        assert self._reader is not None
        self._reader.close()
        self._on_gone()

    # The screen while the process is stopped, and at the end

    def _stop(self) -> None:
        """The process is about to stop; called by a signal, see `RawMode`."""
        if self._screen is None:
            return
        self._give_screen_back()
        done, self._screen = self._screen, Screen()
        if self._away is None:
            self._away = done
        else:  # stopped in the background
            self._away.feed(done.redo())

    def _go_on(self) -> None:
        """The process goes on; called by a signal."""
        if self._reactor is not None and self._terminal is not None:
            self._reactor.call(self._terminal.go_on)

    def _take_screen_back(self) -> None:
        """The terminal is ours again, if it was not."""
        if self._screen is None or self._away is None:
            return
        in_line = self._screen.in_line
        self._away.feed(self._screen.redo())
        self._screen, self._away = self._away, None
        self._screen.in_line = in_line
        self._channel.write(self._screen.redo())

    def _screen_put_right(self) -> bytes:
        """What gives the screen back as the next program expects it."""
        if self._screen is None:
            return b""
        return self._screen.undo() + (b"\r\n" if self._screen.in_line else b"")

    def _give_screen_back(self) -> None:
        """Do so at once, past all that waits."""
        if self._sink.fd is not None:
            with contextlib.suppress(OSError):
                self._sink.send(self._sink.fd, self._screen_put_right())
