"""A line whose output goes into a file and that has no input."""

from __future__ import annotations

import os

from bimetal.backends.chars.channel import Channel
from bimetal.backends.chars.inbox import Inbox
from bimetal.backends.chars.protocol import Receive, Room
from bimetal.backends.reactor import Reactor
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.log import EventLog

__all__ = ["FileSink"]


class FileSink:
    """Writes output to the file ``path``, made new or emptied like by ``>`` of a shell.

    A named pipe or a device file will do too. Raises `BimetalError` if it cannot be opened.
    """

    def __init__(self, path: str):
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            self._fd = os.open(path, flags, 0o666)
        except OSError as error:
            raise BimetalError(
                f"cannot write the output file {path!r}: {error.strerror}",
                "name a file in a folder that you may write to",
                ExitCode.NO_PERMISSION,
            ) from error
        self.where = f"file:{path}"
        self._channel = Channel(EventLog(f"chars.file.{path}"), Inbox(), None, self._fd)
        self._closed = False

    def connect(self, receive: Receive, room: Room | None = None) -> None:
        """A file has no input."""

    def write(self, data: bytes) -> None:
        """See `CharBackend.write`."""
        self._channel.write(data)

    def resume(self) -> None:
        """A file has no input."""

    def attach(self, reactor: Reactor) -> None:
        """See `CharBackend.attach`."""
        self._channel.attach(reactor)

    def close(self) -> None:
        """See `CharBackend.close`."""
        if not self._closed:
            self._closed = True
            self._channel.close()
            os.close(self._fd)
