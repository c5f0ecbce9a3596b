"""A line that one client at a time may dial into, over TCP or a Unix socket."""

from __future__ import annotations

import contextlib
import os
import socket

from bimetal.backends.chars.channel import Channel
from bimetal.backends.chars.inbox import Inbox
from bimetal.backends.chars.outbox import OUTBOX_LIMIT
from bimetal.backends.chars.protocol import Receive, Room
from bimetal.backends.listening import listen_tcp, listen_unix
from bimetal.backends.reactor import Reactor, Watch
from bimetal.base.lasting import lasts, undone
from bimetal.base.log import EventLog

__all__ = ["Server"]


class Server:
    """Listens, and gives the line to the first client; the next one waits until it has left.

    ``address`` says where to dial: a path, or (host, port). The newest of what the guest writes
    while nobody is there is kept for who comes next.
    """

    def __init__(self, listener: socket.socket, name: str):
        self._listener = listener
        self._listener.setblocking(False)
        self._log = EventLog(f"chars.{name}")
        self._inbox = Inbox()
        self._reactor: Reactor | None = None
        self._watch: Watch | None = None
        self._client: socket.socket | None = None
        self._channel: Channel | None = None
        self._missed = bytearray()
        self._path: str | None = None
        self._closed = False

    @classmethod
    def unix(cls, path: str) -> Server:
        """Listen at the Unix socket ``path``. A socket there that nobody listens to any more is
        replaced; any other file stays and is an error (`BimetalError`)."""
        server = cls(listen_unix(path), f"unix.{path}")
        server._path = os.path.abspath(path)
        lasts(server._unlink)
        return server

    @classmethod
    def tcp(cls, host: str, port: int) -> Server:
        """Listen at ``host`` (a name or an IPv4 or IPv6 address) and ``port`` (0: any free one).

        No host means this machine only: a console is not for the whole network by accident.
        Raises `BimetalError`.
        """
        return cls(listen_tcp(host, port), f"tcp.{host}:{port}")

    @property
    def address(self) -> str | tuple[str, int]:
        """Where to dial: the path of a Unix socket, or host and port."""
        if self._path is not None:
            return self._path
        name: str | tuple[str, int] = self._listener.getsockname()
        return name if isinstance(name, str) else (name[0], name[1])

    @property
    def where(self) -> str:
        """See `CharBackend.where`."""
        if isinstance(self.address, str):
            return f"unix:{self.address}"
        host, port = self.address
        return f"tcp:[{host}]:{port}" if ":" in host else f"tcp:{host}:{port}"

    @property
    def connected(self) -> bool:
        """Whether a client is there."""
        return self._client is not None

    def connect(self, receive: Receive, room: Room | None = None) -> None:
        """See `CharBackend.connect`."""
        self._inbox.connect(receive, room)

    def write(self, data: bytes) -> None:
        """See `CharBackend.write`."""
        if self._channel is not None:
            self._channel.write(data)
        else:
            self._missed += data
            del self._missed[:-OUTBOX_LIMIT]

    def resume(self) -> None:
        """See `CharBackend.resume`."""
        if self._channel is not None:
            self._channel.resume()
        else:
            self._inbox.deliver()

    def attach(self, reactor: Reactor) -> None:
        """See `CharBackend.attach`."""
        self._reactor = reactor
        self._watch = reactor.watch(self._listener.fileno(), on_readable=self._accept)

    def close(self) -> None:
        """See `CharBackend.close`. Removes the Unix socket."""
        if self._closed:
            return
        self._closed = True
        if self._channel is not None:
            self._channel.close()
        self._hang_up()
        if self._watch is not None:
            self._watch.close()
        self._listener.close()
        self._unlink()
        undone(self._unlink)

    def _unlink(self) -> None:
        if self._path is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def _accept(self) -> None:
        assert self._reactor is not None
        assert self._watch is not None
        try:
            client, _ = self._listener.accept()
        except BlockingIOError:
            return  # the client has left again
        except OSError as error:
            self._log.host_error("cannot accept a client", str(error))
            return
        client.setblocking(False)
        self._watch.reading = False  # one at a time; others wait in the queue of the kernel
        self._client = client
        fd = client.fileno()
        end = self._hang_up
        self._channel = Channel(self._log, self._inbox, fd, fd, on_end=end, on_gone=end)
        self._channel.attach(self._reactor)
        missed, self._missed = bytes(self._missed), bytearray()
        self._channel.write(missed)

    def _hang_up(self) -> None:
        channel, client = self._channel, self._client
        self._channel = self._client = None
        if channel is not None and client is not None:
            channel.close(0)  # the machine does not wait for who has left
            client.close()
        if self._watch is not None:
            self._watch.reading = True
