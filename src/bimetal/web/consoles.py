"""Consoles of machines that several people look at and type into at once.

A terminal has one reader, so there is one here for all: what comes is handed to every viewer, and a
new one gets what came lately, also if nobody has looked meanwhile. Who reads too slowly is let go,
and keeps nobody waiting.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager

from bimetal.backends.dial import dial_unix
from bimetal.backends.lease import Lease
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.control.machines import Machines

__all__ = ["BEHIND_LIMIT", "Consoles", "Viewer"]

LATELY = 64 << 10
"""Bytes of what came before that a new viewer gets."""

BEHIND_LIMIT = 1 << 20
"""Bytes that wait for a viewer before it is let go."""

VIEWERS_LIMIT = 16
REMEMBERED = 64
"""Consoles that nobody looks at of which it is known what came lately."""

PIECE = 64 << 10
PATIENCE = 5.0
UNIX = "unix:"


class Viewer:
    """Somebody who looks at a console."""

    def __init__(self, before: bytes):
        self._waiting = bytearray(before)
        self._news = asyncio.Event()
        self.ended = ""
        """Why there will be nothing more, once there will not."""

    def tell(self, data: bytes) -> None:
        """Something came."""
        if self.ended:
            return
        self._waiting += data
        if len(self._waiting) > BEHIND_LIMIT:
            self._waiting.clear()
            self.end("This page reads too slowly.")
        self._news.set()

    def end(self, why: str) -> None:
        """Nothing more will come."""
        self.ended = self.ended or why
        self._news.set()

    async def next(self) -> bytes:
        """What came since; b"" at the end."""
        while not (self._waiting or self.ended):
            self._news.clear()
            await self._news.wait()
        data = bytes(self._waiting)
        self._waiting.clear()
        return data


class Console:
    """The console that ``fd`` leads to, of which ``lately`` came before; ``over`` is called when
    nobody looks any more."""

    def __init__(self, fd: int, lately: bytearray, over: Callable[[], None]):
        os.set_blocking(fd, False)
        self._fd, self._lately, self._over = fd, lately, over
        self._viewers: list[Viewer] = []
        self._loop = asyncio.get_running_loop()
        self._typing = asyncio.Lock()
        self._loop.add_reader(fd, self._readable)
        self.ended = False

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[Viewer]:
        """A context in which somebody looks."""
        viewer = Viewer(bytes(self._lately))
        if len(self._viewers) >= VIEWERS_LIMIT:
            viewer.end(f"{VIEWERS_LIMIT} pages look at this console already.")
        self._viewers.append(viewer)
        try:
            yield viewer
        finally:
            self._viewers.remove(viewer)
            if not self._viewers:
                self._close()

    async def type(self, data: bytes) -> None:
        """Send what somebody typed, all of it before what others type."""
        async with self._typing:
            while data and not self.ended:
                try:
                    data = data[os.write(self._fd, data) :]
                except BlockingIOError:
                    await self._room()
                except OSError:
                    self._end()

    async def _room(self) -> None:
        """Wait until the guest has read something of what was typed."""
        there = asyncio.Event()
        self._loop.add_writer(self._fd, there.set)
        try:
            await there.wait()
        finally:
            self._loop.remove_writer(self._fd)

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, PIECE)
        except BlockingIOError:
            return
        except OSError:  # what Linux says of a terminal whose other end is gone
            data = b""
        if not data:
            self._end()
            return
        self._lately += data
        del self._lately[:-LATELY]
        for viewer in self._viewers:
            viewer.tell(data)

    def _end(self) -> None:
        if not self.ended:
            self.ended = True
            self._loop.remove_reader(self._fd)
            for viewer in self._viewers:
                viewer.end("The machine has ended, or has started anew.")

    def _close(self) -> None:
        self._end()
        self._over()


class Consoles:
    """Those of ``machines`` that somebody looks at, by name and run."""

    def __init__(self, machines: Machines):
        self._machines = machines
        self._open: dict[tuple[str, int], Console] = {}
        self._lately: dict[tuple[str, int], bytearray] = {}

    def of(self, called: str) -> Console:
        """The console of a machine that runs. Raises `BimetalError`."""
        known = self._machines.running(called)
        key = known.name, known.id
        there = self._open.get(key)
        if there is not None and not there.ended:
            return there
        with ExitStack() as stack:
            self._take(known.name, stack)
            fd = _dial(known.name, self._machines.console_of(known.name), stack)
            stack.callback(lambda: self._open.pop(key, None))
            lately = self._lately.pop(key, bytearray())
            console = Console(fd, lately, stack.pop_all().close)
        self._lately[key], self._open[key] = lately, console
        while len(self._lately) > REMEMBERED:
            del self._lately[next(iter(self._lately))]
        return console

    def _take(self, name: str, stack: ExitStack) -> None:
        """Let nobody else read the console meanwhile."""
        lease = Lease.take(str(self._machines.places.state(name) / "console"))
        if lease is None:
            raise BimetalError(
                f"somebody talks with the console of {name} already",
                "leave it there by Ctrl-]",
                ExitCode.UNAVAILABLE,
            )
        stack.callback(lease.release)


def _dial(name: str, place: str, stack: ExitStack) -> int:
    """The descriptor of a connection to a console, which ``stack`` closes."""
    try:
        if place.startswith("/"):
            fd = os.open(place, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC | os.O_NONBLOCK)
            stack.callback(os.close, fd)
            return fd
        if place.startswith(UNIX):
            connection = dial_unix(place.removeprefix(UNIX), PATIENCE)
            stack.callback(connection.close)
            return connection.fileno()
    except OSError as error:
        raise BimetalError(
            f"the console {place} cannot be opened: {error.strerror}",
            "see whether somebody else has it",
            ExitCode.UNAVAILABLE,
        ) from error
    raise BimetalError(
        f"the console of {name} is no terminal: it leads to {place or 'nowhere'}",
        "define it with <console type='pty'/>",
        ExitCode.UNAVAILABLE,
    )
