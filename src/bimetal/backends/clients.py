"""Clients that come and go: connections by a socket, or by standard input and output, for servers
that may not lose what they send, nor wait for who does not read.

Everything happens in the thread that runs the reactor.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import termios
from collections.abc import Callable
from contextlib import suppress
from weakref import WeakSet

from bimetal.backends.listening import inherited_listener, listen_tcp, listen_unix
from bimetal.backends.net.options import split_words
from bimetal.backends.reactor import Reactor
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.lasting import lasts, undone

__all__ = ["Client", "Doors", "open_doors"]

PIECE = 65536
PIPE_PIECE = 4096
"""Bytes that a pipe with any room takes at once without making its writer wait (pipe(7),
PIPE_BUF)."""

CLIENTS_LIMIT = 32
"""Clients at the same time. When another one comes, one is let go that does not read what it was
sent, or has never said a word; if there is none, the new one waits in the kernel's queue."""

HANDED_LIMIT = 16
"""Descriptors that a client may have handed over without a command that uses them."""

BACKLOG = 16
PRIVATE = 0o600
SWITCH = {"on": True, "": True, "off": False}


class Client:
    """A connection over ``reading`` and ``writing``, descriptors of which ``end`` disposes.

    Set ``on_data``, called with what arrives, ``on_sent``, called when all that was written is on
    its way, and ``on_end``, called once when the client is gone or was closed.
    """

    def __init__(
        self,
        reactor: Reactor,
        reading: int,
        writing: int,
        end: Callable[[], None],
        connection: socket.socket | None = None,
    ):
        self.on_data: Callable[[bytes], None] = _nothing
        self.on_sent: Callable[[], None] = _nothing
        self.on_end: Callable[[], None] = _nothing
        self._end, self._reading, self._writing = end, reading, writing
        local = connection is not None and connection.family == socket.AF_UNIX
        self._connection = connection if local else None
        self._descriptors: list[int] = []
        self._piece = PIECE if stat.S_ISSOCK(os.fstat(writing).st_mode) else PIPE_PIECE
        self._out = bytearray()
        self._spoken = False
        self._in = reactor.watch(reading, on_readable=self._readable)
        self._room = reactor.watch(writing, on_writable=self._writable)
        self.closed = False

    @property
    def waiting(self) -> int:
        """Bytes that were written and that the client has not taken."""
        return len(self._out)

    @property
    def idle(self) -> bool:
        """Whether it only takes room: it leaves what it was sent, or has never said a word. What a
        client by TCP has not read cannot be told from what it has."""
        unread = bytearray(4)
        with suppress(OSError):
            fcntl.ioctl(self._writing, termios.TIOCOUTQ, unread)
        return bool(self._out) or any(unread) or not self._spoken

    @property
    def listening(self) -> bool:
        """Whether what the client sends is read; it waits in the kernel otherwise."""
        return self._in.reading

    @listening.setter
    def listening(self, wanted: bool) -> None:
        if not self.closed:
            self._in.reading = wanted

    def write(self, data: bytes) -> None:
        """Send ``data``, as soon as the client takes it."""
        if not self.closed:
            self._out += data
            self._room.writing = True

    def take_descriptors(self) -> list[int]:
        """The descriptors that the client has handed over so far, which are the caller's now."""
        taken, self._descriptors = self._descriptors, []
        return taken

    def close(self) -> None:
        """End the connection; what was not sent is lost. Idempotent."""
        if not self.closed:
            self.closed = True
            for descriptor in self.take_descriptors():
                os.close(descriptor)
            self._in.close()
            self._room.close()
            self._end()
            self.on_end()

    def _readable(self) -> None:
        try:
            data = self._read()
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._spoken = True
            self.on_data(data)
        elif self._reading != self._writing:  # nothing more is asked, but answers are awaited
            self._in.close()
        else:
            self.close()

    def _read(self) -> bytes:
        """What the client has sent. A local one may hand over descriptors with it."""
        if self._connection is None:
            return os.read(self._reading, PIECE)
        data, descriptors, _, _ = socket.recv_fds(self._connection, PIECE, HANDED_LIMIT)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        self._descriptors += descriptors
        while len(self._descriptors) > HANDED_LIMIT:
            os.close(self._descriptors.pop())
        return data

    def _writable(self) -> None:
        try:
            sent = os.write(self._writing, bytes(self._out[: self._piece])) if self._out else 0
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        del self._out[:sent]
        if not self._out:
            self._room.writing = False
            self.on_sent()


class Doors:
    """Where clients come in: ``listener``, or standard input and output, for one client, if it is
    None. A socket at ``path`` is removed in the end. ``waits`` is whether who opened it wants to
    wait for the first client."""

    def __init__(self, listener: socket.socket | None, path: str = "", waits: bool = False):
        self.waits = waits
        self._listener = listener
        self._path = os.path.abspath(path) if path else ""
        self._inside: list[Client] = []
        self._reactor: Reactor | None = None
        self._greet: Callable[[Client], None] = _nothing
        self._connections: list[socket.socket] = []
        if listener is not None:
            listener.setblocking(False)
        if path:
            lasts(self._unlink)
        _open.add(self)

    @property
    def where(self) -> str:
        """Where to knock: ``unix:PATH``, ``tcp:HOST:PORT``, ``stdio``."""
        if self._path:
            return f"unix:{self._path}"
        if self._listener is None:
            return "stdio"
        name = self._listener.getsockname()
        if not isinstance(name, tuple):
            return f"unix:{name}"
        host, port = name[:2]
        return f"tcp:[{host}]:{port}" if ":" in host else f"tcp:{host}:{port}"

    def attach(self, reactor: Reactor, greet: Callable[[Client], None]) -> None:
        """Let clients in, each of which ``greet`` gets to know."""
        self._reactor, self._greet = reactor, greet
        if self._listener is not None:
            self._watch = reactor.watch(self._listener.fileno(), on_readable=self._accept)
        else:
            greet(Client(reactor, 0, 1, _nothing))

    def close(self) -> None:
        """Let nobody in any more; who is inside stays. Idempotent."""
        if self._listener is not None and self._listener.fileno() >= 0:
            if self._reactor is not None:
                self._watch.close()
            self._listener.close()
        self._unlink()
        undone(self._unlink)

    def forget(self) -> None:
        """This process is a copy, and the doors are the other one's: it must not keep anybody there
        who leaves, nor have a socket answer that nobody hears."""
        self._path = ""
        undone(self._unlink)
        for each in (self._listener, *self._connections):
            if each is not None:
                each.close()

    def _accept(self) -> None:
        assert self._listener is not None
        assert self._reactor is not None
        if not self._has_room():
            self._watch.reading = False
            return
        try:
            connection, _ = self._listener.accept()
        except OSError:  # it has left again, or the host has no descriptors left for it
            return
        connection.setblocking(False)
        fd = connection.fileno()
        client = Client(self._reactor, fd, fd, lambda: self._leave(client, connection), connection)
        self._inside.append(client)
        self._connections.append(connection)
        self._greet(client)

    def _has_room(self) -> bool:
        """Whether another client finds room, for which one of those inside may have to leave."""
        if len(self._inside) >= CLIENTS_LIMIT:
            idle = next((client for client in self._inside if client.idle), None)
            if idle is not None:
                idle.close()
        return len(self._inside) < CLIENTS_LIMIT

    def _leave(self, client: Client, connection: socket.socket) -> None:
        connection.close()
        self._connections.remove(connection)
        self._inside.remove(client)
        self._watch.reading = True

    def _unlink(self) -> None:
        if self._path:
            with suppress(OSError):
                os.unlink(self._path)


_open: WeakSet[Doors] = WeakSet()


def _forget_all() -> None:
    for doors in [*_open]:
        doors.forget()


os.register_at_fork(after_in_child=_forget_all)


def open_doors(text: str) -> Doors:
    """The doors at ``unix:PATH``, ``tcp:HOST:PORT``, ``fd:NUMBER`` (a socket at which whoever
    started us listens) or ``stdio``, to which QEMU's words ``server``
    and ``wait`` may be added. A Unix socket is for the user alone; an address of TCP is one of this
    host's own, as there is no password. Raises `BimetalError`."""
    place, words = split_words(text)
    kind, _, where = place.partition(":")
    switches = {"server": False, "wait": False}
    for name, value in words:
        if name not in switches or value not in SWITCH:
            raise _refused(text, f"{name!r} says nothing of it", "write server=on, wait=on or off")
        switches[name] = SWITCH[value]
    if ("server", "off") in words:
        raise _refused(text, "clients come to it", "write server=on")
    waits = switches["wait"] if "wait" in dict(words) else switches["server"]
    match kind:
        case "stdio" if not where:
            return Doors(None, waits=waits)
        case "fd" if where.isdecimal():
            return Doors(inherited_listener(int(where)), waits=waits)
        case "unix" if where:
            return Doors(listen_unix(where, BACKLOG, PRIVATE), where, waits)
        case "tcp" if where:
            host, _, port = where.rpartition(":")
            if not port.isdecimal() or int(port) > 0xFFFF:
                raise _refused(text, "it has no port number", "write tcp:HOST:PORT")
            listener = listen_tcp(host.removeprefix("[").removesuffix("]"), int(port), BACKLOG)
            if not _own(listener.getsockname()[0]):
                listener.close()
                raise _refused(
                    text, "whoever reaches it could do anything", "write tcp:127.0.0.1:PORT"
                )
            return Doors(listener, waits=waits)
    raise _refused(text, "that is no place", "write unix:PATH, tcp:HOST:PORT, fd:NUMBER or stdio")


def _own(address: str) -> bool:
    return address.startswith("127.") or address == "::1"


def _refused(text: str, why: str, remedy: str) -> BimetalError:
    return BimetalError(f"{text!r} cannot be served: {why}", remedy, ExitCode.USAGE)


def _nothing(*_: object) -> None:
    """What happens unless somebody wants something else to happen."""
