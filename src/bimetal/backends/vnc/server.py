"""A VNC server: sockets, clients, and when they are told what has changed.

It has a thread of its own, in which it waits, encodes and sends. It holds the machine's lock only
for as long as it copies what the guest has drawn, or says what somebody types.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from bimetal.backends.reactor import Reactor, Watch
from bimetal.backends.vnc.canvas import Canvas, Lock
from bimetal.backends.vnc.channel import ChannelError, Layer, TlsLayer, WebSocketLayer
from bimetal.backends.vnc.hello import Access, Goodbye
from bimetal.backends.vnc.password import Password
from bimetal.backends.vnc.session import Inputs, Session
from bimetal.backends.vnc.visit import Stage, Visit, way_in
from bimetal.base.lasting import lasts, undone
from bimetal.base.log import logger
from bimetal.screen.screen import Screen

__all__ = ["Door", "VncServer"]

CLIENTS_LIMIT = 16
"""Clients at once; more are turned away."""

HELLO_SECONDS = 30
"""Time that a client has until it is let in."""

FRAME_NS = 33_000_000
"""Time between two looks at the screen, at least; it is as long as the last one took, if that is
more: so half of a processor is left to others."""

OUTBOX = 64 << 10
"""Bytes that wait to be sent before another rectangle is worked out."""
READ_AT_ONCE = 64 << 10
SECOND = 1_000_000_000


class Door(Struct, frozen=True):
    """A socket that clients connect to, which has a file at ``path`` if it is a Unix socket, and
    whether they speak the protocol through a WebSocket: from pages of these ``origins`` beside
    those of this host."""

    listener: socket.socket
    web_socket: bool = False
    origins: Sequence[str] = ()
    path: str = ""

    @property
    def address(self) -> tuple[str, int] | str:
        """Where it is: host and port, or the path of a Unix socket."""
        if self.path:
            return self.path
        name = self.listener.getsockname()
        return name if isinstance(name, str) else (name[0], name[1])

    def close(self) -> None:
        """Let nobody in."""
        self.listener.close()
        if self.path:
            with suppress(OSError):
                os.unlink(self.path)


class VncServer:
    """Shows ``screen`` to whoever comes in by the ``doors``. ``lock`` is the machine's lock;
    ``on_visit`` hears, with it held, of viewers who come and go. `run` it in a thread; `stop` and
    `close` may be called from others."""

    def __init__(
        self,
        screen: Screen,
        inputs: Inputs,
        doors: Sequence[Door],
        access: Access,
        lock: Lock,
        name: str,
        on_visit: Callable[[Stage, Visit], None] = lambda stage, visit: None,
    ):
        self._on_visit = on_visit
        self.reactor = Reactor()
        self.canvas = Canvas(screen, lock, self._news_from_afar)
        self._inputs, self._access, self._name, self._lock = inputs, access, name, lock
        self._resize = None if screen.resize is None else self._ask_for_size
        self._screen, self._doors = screen, doors
        self.clients: list[Client] = []
        self._timer = self.reactor.clock.timer(self._look)
        self._has_news, self._heard = True, False
        self._last_look, self._pause = 0, FRAME_NS
        self._paths = [door.address for door in doors if isinstance(door.address, str)]
        lasts(self._unlink)
        for door in doors:
            door.listener.setblocking(False)
            self._watch(door)

    def run(self) -> None:
        """Serve until `stop`."""
        self.reactor.run()

    def stop(self) -> None:
        """Have `run` return soon."""
        self.reactor.stop()

    def close(self, *, ours: bool = True) -> None:
        """Close all sockets, once `run` has returned. In a copy of the process, in which it does
        not run, what others see of them is not ``ours``."""
        with self._lock():
            self.canvas.close()
        for client in tuple(self.clients):
            client.close()
        for door in self._doors:
            door.listener.close()
        if ours:
            self._unlink()
        undone(self._unlink)
        self.reactor.close()

    def _unlink(self) -> None:
        """Remove the files of Unix sockets. Idempotent."""
        while self._paths:
            with suppress(OSError):
                os.unlink(self._paths.pop())

    # Clients

    def _watch(self, door: Door) -> None:
        self.reactor.watch(door.listener.fileno(), lambda: self._accept(door))

    def _accept(self, door: Door) -> None:
        try:
            connection, _ = door.listener.accept()
        except OSError:
            return
        self._admit(connection, door.web_socket, door.origins)

    def admit(self, descriptor: int, *, trusted: bool) -> None:
        """Serve a viewer whose connected socket has that ``descriptor``, which is ours from now on;
        one who is ``trusted`` needs no password. Any thread. Raises OSError if it is no socket."""
        try:
            connection = socket.socket(fileno=descriptor)
            connection.getpeername()
        except OSError:
            with suppress(OSError):
                os.close(descriptor)
            raise
        self.reactor.call(partial(self._admit, connection, trusted=trusted))

    def _admit(
        self,
        connection: socket.socket,
        web_socket: bool = False,
        origins: Sequence[str] = (),
        *,
        trusted: bool = False,
    ) -> None:
        if len(self.clients) >= CLIENTS_LIMIT:
            connection.close()
            return
        connection.setblocking(False)
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._refresh()
        try:
            way = way_in(Access() if trusted else self._access)
            visit = Visit.of(connection, web_socket, way)
        except OSError:
            connection.close()  # it is gone already
            return
        layers: list[Layer] = []
        if web_socket:
            if self._access.tls is not None:
                layers.append(TlsLayer(self._access.tls))
            layers.append(WebSocketLayer(origins))
        self.clients.append(Client(self, connection, layers, visit, trusted=trusted))
        self.tell(Stage.CONNECTED, visit)

    def tell(self, stage: Stage, visit: Visit) -> None:
        """A viewer has come, was let in, or has gone."""
        with self._lock():
            self._on_visit(stage, visit)

    def session(self, start_tls: Callable[[], None], *, in_tls: bool, trusted: bool) -> Session:
        """The session of a client, which may speak through TLS already, or be ``trusted``."""
        access = Access(self._access.password) if in_tls else self._access
        if trusted:
            access = Access()
        return Session(self.canvas, self._inputs, access, self._name, self._resize, start_tls)

    def set_password(self, password: Password) -> None:
        """Let those in from now on who know this one. Any thread."""
        self._access = replace(self._access, password=password)

    @property
    def access(self) -> Access:
        """Who is let in."""
        return self._access

    # The screen

    def _news_from_afar(self) -> None:
        """There is something to look at. Called in any thread, with the machine's lock held."""
        if not self._heard:
            self._heard = True
            self.reactor.call(self._news)

    def _news(self) -> None:
        self._heard, self._has_news = False, True
        self.look_soon()

    def look_soon(self) -> None:
        """Look at the screen, if somebody waits for an update and there may be one, but not more
        often than there is time for."""
        if self._timer.deadline is not None:
            return
        may_be = self._has_news or not self.canvas.announces
        if any((may_be and each.waits) or each.session.owed for each in self.clients):
            self._timer.arm(self._last_look + self._pause)

    def _refresh(self, *, moves: bool = False) -> None:
        """Look at the screen, and tell all sessions what has changed; of those that wait, also what
        has moved, if their updates begin at once."""
        self._has_news = False
        cursor = self.canvas.cursor
        damage = self.canvas.look(moves=moves)
        for client in self.clients:
            if damage:
                client.session.changed(damage, self.canvas.moves if client.waits else ())
            if self.canvas.cursor != cursor:
                client.session.cursor_changed()

    def _look(self) -> None:
        began = self.reactor.clock.now_ns()
        self._refresh(moves=any(each.waits and each.session.copies for each in self.clients))
        for client in tuple(self.clients):
            if client.waits:
                client.session.begin_update()
                client.send()
        self._last_look = self.reactor.clock.now_ns()
        self._pause = max(FRAME_NS, self._last_look - began)
        self.look_soon()

    def _ask_for_size(self, width: int, height: int) -> None:
        with self._lock():
            if self._screen.resize is not None:
                self._screen.resize(width, height)


class Client:
    """A connection: its socket, the ``layers`` that it speaks through, the outermost first, and its
    session, for which it needs no password if it is ``trusted``. ``visit`` is what others are told
    of it."""

    def __init__(
        self,
        server: VncServer,
        connection: socket.socket,
        layers: list[Layer],
        visit: Visit,
        *,
        trusted: bool,
    ):
        self.visit = visit
        self._server, self._socket, self._layers = server, connection, layers
        in_tls = any(isinstance(each, TlsLayer) for each in layers)
        self._wire = bytearray()
        self.session = server.session(self._start_tls, in_tls=in_tls, trusted=trusted)
        self._watch: Watch = server.reactor.watch(connection.fileno(), self._readable, self.send)
        self._hello = server.reactor.clock.timer(self._too_late)
        self._hello.arm(server.reactor.clock.now_ns() + HELLO_SECONDS * SECOND)
        self._closed = False
        self._watch.writing = True  # the protocol's version is to be sent

    @property
    def waits(self) -> bool:
        """Whether it waits for an update, and everything before has been sent."""
        return self.session.waits and not self._wire

    def send(self) -> None:
        """Send what there is to send, as far as the client takes it."""
        try:
            while not self._closed:
                if not self._wire:
                    self.session.fill(OUTBOX)
                    self._wrap()
                if not self._wire:
                    break
                del self._wire[: self._socket.send(self._wire)]
        except BlockingIOError:
            pass
        except (OSError, ChannelError) as error:
            self._end(str(error))
        if not self._closed:
            self._watch.writing = bool(self._wire)
            self._server.look_soon()

    def close(self) -> None:
        """End the connection. Idempotent."""
        if not self._closed:
            self._closed = True
            self._hello.cancel()
            self._watch.close()
            self._socket.close()
            self._server.clients.remove(self)
            self.session.close()

    def _readable(self) -> None:
        try:
            data = self._socket.recv(READ_AT_ONCE)
            if not data:
                raise Goodbye("it has closed the connection")
            self._hear(data)
        except BlockingIOError:
            return
        except Goodbye as goodbye:
            self._say_last()
            self._end(str(goodbye))
        except (OSError, ChannelError) as error:
            self._say_last()
            self._end(str(error))
        else:
            self.send()

    def _hear(self, data: bytes) -> None:
        for layer in self._layers:
            data = layer.received(data)
        if data:
            self.session.received(data)
        if self.session.welcome and self._hello.deadline is not None:
            self._hello.cancel()
            self._server.tell(Stage.INITIALIZED, self.visit)

    def _wrap(self) -> None:
        """Have what the session says go through the layers, and what they say themselves."""
        data = bytes(self.session.outbox)
        self.session.outbox.clear()
        for layer in reversed(self._layers):
            data = layer.sent(data)
        self._wire += data

    def _start_tls(self) -> None:
        tls = self._server.access.tls
        assert tls is not None
        self._wrap()  # the word by which it begins is in the clear
        self._layers.append(TlsLayer(tls))

    def _say_last(self) -> None:
        """Send why it is over, as far as there is room for it."""
        try:
            self._wrap()
            self._socket.send(self._wire)
        except (OSError, ChannelError):
            return

    def _too_late(self) -> None:
        self._end("it was not let in in time")

    def _end(self, why: str) -> None:
        logger("vnc").debug("a client is gone: %s", why)
        self.close()
        self._server.tell(Stage.DISCONNECTED, self.visit)
