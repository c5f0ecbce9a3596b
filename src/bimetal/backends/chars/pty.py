"""A new pseudo-terminal, for `screen`, `minicom` and their like to attach to."""

from __future__ import annotations

import contextlib
import os
import termios
import tty

from bimetal.backends.chars.channel import Channel
from bimetal.backends.chars.inbox import Inbox
from bimetal.backends.chars.protocol import Receive, Room
from bimetal.backends.reactor import Reactor
from bimetal.base.errors import BimetalError
from bimetal.base.log import EventLog

__all__ = ["Pty"]


class Pty:
    """A pseudo-terminal; ``path`` names the end that a person attaches to.

    We keep that end open ourselves: otherwise the kernel would report a hang-up for as long as
    no program is attached, and there would be nothing to wait on.
    """

    def __init__(self) -> None:
        try:
            self._master, self._slave = os.openpty()
        except OSError as error:
            raise BimetalError(
                f"the host has no pseudo-terminal left: {error.strerror}",
                "raise the kernel's limit (sysctl kernel.pty.max) or use unix:PATH",
            ) from error
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = self.where = os.ttyname(self._slave)
        self._inbox = Inbox()
        log = EventLog(f"chars.pty.{self.path}")
        self._channel = Channel(
            log, self._inbox, self._master, self._master, on_drop=self._drop_older
        )
        self._closed = False

    def connect(self, receive: Receive, room: Room | None = None) -> None:
        """See `CharBackend.connect`."""
        self._inbox.connect(receive, room)

    def write(self, data: bytes) -> None:
        """See `CharBackend.write`."""
        self._channel.write(data)

    def resume(self) -> None:
        """See `CharBackend.resume`."""
        self._channel.resume()

    def attach(self, reactor: Reactor) -> None:
        """See `CharBackend.attach`."""
        self._channel.attach(reactor)

    def _drop_older(self) -> None:
        """Output had to be dropped: what the kernel still holds is older than all that is kept."""
        with contextlib.suppress(termios.error):
            termios.tcflush(self._slave, termios.TCIFLUSH)

    def close(self) -> None:
        """See `CharBackend.close`."""
        if not self._closed:
            self._closed = True
            self._channel.close()
            os.close(self._slave)
            os.close(self._master)
