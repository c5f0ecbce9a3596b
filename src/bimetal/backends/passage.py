"""A way to another process by which a machine leaves, or comes: a socket, a pipe, a file, or the
standard input or output of a program.

    tcp:HOST:PORT   unix:PATH   fd:NUMBER   exec:COMMAND   file:PATH[,offset=BYTES]
"""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
import subprocess
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import IO, Protocol

from bimetal.backends.dial import dial_unix
from bimetal.backends.listening import listen_tcp, listen_unix
from bimetal.backends.net.options import split_words
from bimetal.base.closes import Closes
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.lasting import lasts, undone
from bimetal.base.wakeup import Wakeup

__all__ = ["Coming", "Passage", "await_passage", "open_passage"]

CONNECTING = 10.0
"""Seconds that a connection may take to be there."""

PATIENCE = 2.0
"""Seconds that a program may take to end of which nothing more is wanted."""

KEEP_ALIVE = {
    socket.SO_KEEPALIVE: (socket.SOL_SOCKET, 1),
    socket.TCP_KEEPIDLE: (socket.IPPROTO_TCP, 5),
    socket.TCP_KEEPINTVL: (socket.IPPROTO_TCP, 5),
    socket.TCP_KEEPCNT: (socket.IPPROTO_TCP, 3),
    socket.TCP_USER_TIMEOUT: (socket.IPPROTO_TCP, 30_000),
}
"""A connection by TCP is lost when the other host has not answered for half a minute."""

KINDS = "tcp:HOST:PORT, unix:PATH, fd:NAME, exec:COMMAND or file:PATH"
PRIVATE = 0o600
DIGITS = 18
"""Those of a place in a file, at most."""

NOTHING_TO_SYNC = (errno.EINVAL, errno.EROFS)
"""What fsync(2) says of pipes and other files that need not be made safe."""


class Passage(Closes):
    """The descriptor ``fd``, which is closed with it; then ``end`` is called, and told what is
    readable once it is given up. It goes ``both_ways`` if it is a socket. One thread uses it;
    `give_up` may be called by any.

    Methods raise OSError; ECANCELED after `give_up`, EPIPE at an end that comes too early.
    """

    def __init__(self, fd: int, end: Callable[[int], None] = lambda _: None):
        self._fd, self._end = fd, end
        self._given_up = False
        self.patience: float | None = None
        """Seconds that the other side of one that goes both ways may do nothing; None for any
        time. Then it has ended, ETIMEDOUT."""
        try:
            self.both_ways = stat.S_ISSOCK(os.fstat(fd).st_mode)
            os.set_blocking(fd, False)
            self._bell = Wakeup()
        except BaseException:
            with suppress(OSError):
                os.close(fd)
            raise

    def write(self, data: bytes | memoryview) -> None:
        """Send all of ``data``."""
        view = memoryview(data)
        while view:
            self._wait(select.POLLOUT)
            with suppress(BlockingIOError):
                view = view[os.write(self._fd, view[: 1 << 20]) :]

    def read(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        pieces = list[bytes]()
        while count:
            self._wait(select.POLLIN)
            with suppress(BlockingIOError):
                piece = os.read(self._fd, min(count, 1 << 20))
                if not piece:
                    raise BrokenPipeError("the connection has ended")
                pieces.append(piece)
                count -= len(piece)
        return b"".join(pieces)

    def finish(self) -> None:
        """Return once what was sent is where it belongs: safe, in a file; taken, by a program,
        which has ended."""
        if not self.both_ways:
            try:
                os.fsync(self._fd)
            except OSError as error:
                if error.errno not in NOTHING_TO_SYNC:
                    raise
            self.close()
            if self._given_up:
                raise self._cancelled()

    def rest(self, seconds: float) -> None:
        """Wait so long."""
        if self._bell_rings(seconds):
            raise self._cancelled()

    def give_up(self) -> None:
        """Have whoever uses it hear of its end now."""
        self._given_up = True
        self._bell.ring()

    def close(self) -> None:
        """See `Closes.close`."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
            try:
                self._end(self._bell.fd)
            finally:
                self._bell.close()

    def _wait(self, events: int) -> None:
        poll = select.poll()
        poll.register(self._fd, events)
        poll.register(self._bell.fd, select.POLLIN)
        patience = self.patience if self.both_ways else None
        happened = poll.poll(None if patience is None else patience * 1000)
        if self._given_up:
            raise self._cancelled()
        if not happened:
            raise TimeoutError(
                errno.ETIMEDOUT, f"the other side does nothing for {patience:.0f} seconds"
            )

    def _bell_rings(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._bell.fd, select.POLLIN)
        poll.poll(int(seconds * 1000))
        return self._given_up

    @staticmethod
    def _cancelled() -> OSError:
        return InterruptedError("it was cancelled")


def open_passage(place: str) -> Passage:
    """The way to ``place``, for a machine that leaves. Raises `BimetalError`."""
    kind, _, where = place.partition(":")
    try:
        match kind:
            case "tcp":
                return _of_socket(socket.create_connection(_address(place, where), CONNECTING))
            case "unix" if where:
                return _of_socket(dial_unix(where, CONNECTING))
            case "fd" if where.isdecimal():
                return Passage(int(where))
            case "exec" if where:
                return _of_target(where)
            case "file" if where:
                return _of_file(where, os.O_WRONLY | os.O_CREAT)
    except OSError as error:
        raise BimetalError(
            f"nothing can be sent to {place[:200]}: {error.strerror or error}",
            "have somebody await it there",
            ExitCode.UNAVAILABLE,
        ) from error
    raise no_place(place)


class Coming(Protocol):
    """What returns once somebody has come, or with the way from there. Raises `BimetalError` and
    OSError."""

    def __call__(self) -> Passage: ...

    def close(self) -> None:
        """Let nobody come. Idempotent."""


class _Opened:
    """A way that is open already."""

    def __init__(self, way: Passage):
        self._way = way

    def __call__(self) -> Passage:
        return self._way

    def close(self) -> None:
        """Close it."""
        self._way.close()


class _Found:
    """The way from ``open_way``, for which nobody has to be waited for."""

    def __init__(self, open_way: Callable[[], Passage]):
        self._open_way = open_way

    def __call__(self) -> Passage:
        return self._open_way()

    def close(self) -> None:
        """Nothing is open."""


def await_passage(place: str) -> tuple[str, Coming]:
    """Where somebody can come who leaves, with the port that was chosen; and what they come by.
    Raises `BimetalError`."""
    kind, _, where = place.partition(":")
    try:
        match kind:
            case "tcp":
                host, port = _address(place, where)
                listener = listen_tcp(host, port)
                name = listener.getsockname()
                return f"tcp:{host}:{name[1]}", _Doorway(listener)
            case "unix" if where:
                listener = listen_unix(where, 1, PRIVATE)
                return place, _Doorway(listener, os.path.abspath(where))
            case "fd" if where.isdecimal():
                return place, _Found(partial(Passage, int(where)))
            case "exec" if where:
                return place, _Found(partial(_of_source, where))
            case "file" if where:
                return place, _Opened(_of_file(where, os.O_RDONLY))
    except OSError as error:
        raise BimetalError(
            f"nothing can come from {place[:200]}: {error.strerror or error}",
            "check the path and its permissions",
            ExitCode.UNAVAILABLE,
        ) from error
    raise no_place(place)


def no_place(place: str) -> BimetalError:
    """The error that there is no such place."""
    return BimetalError(f"{place[:80]!r} is no place", f"write {KINDS}", ExitCode.USAGE)


class _Doorway:
    """Where somebody can come, once, to ``listener``, which has a file at ``path`` if it is a Unix
    socket. Nothing is left of it when they have, nor when the process ends."""

    def __init__(self, listener: socket.socket, path: str = ""):
        self._listener, self._path = listener, path
        if path:
            lasts(self._unlink)

    def __call__(self) -> Passage:
        try:
            connection, _ = self._listener.accept()
            return _of_socket(connection)
        except OSError as error:
            raise BimetalError(
                f"nobody can come: {error.strerror}", "", ExitCode.UNAVAILABLE
            ) from error
        finally:
            self.close()

    def close(self) -> None:
        """Let nobody come. Idempotent."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # who waits for somebody hears of it
        self._listener.close()
        if self._path:
            self._unlink()
            undone(self._unlink)

    def _unlink(self) -> None:
        with suppress(OSError):
            os.unlink(self._path)


def _of_socket(connection: socket.socket) -> Passage:
    with connection:
        if connection.family != socket.AF_UNIX:
            for option, (level, value) in KEEP_ALIVE.items():
                connection.setsockopt(level, option, value)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Passage(connection.detach())


def _of_target(command: str) -> Passage:
    program = subprocess.Popen(["/bin/sh", "-c", command], stdin=subprocess.PIPE)
    assert program.stdin is not None
    return _of_program(program, program.stdin, partial(_end, program, command))


def _of_source(command: str) -> Passage:
    program = subprocess.Popen(["/bin/sh", "-c", command], stdout=subprocess.PIPE)
    assert program.stdout is not None
    return _of_program(program, program.stdout, lambda _: _dismiss(program, PATIENCE))


def _of_program(
    program: subprocess.Popen[bytes], pipe: IO[bytes], end: Callable[[int], None]
) -> Passage:
    try:
        with pipe:
            return Passage(os.dup(pipe.fileno()), end)
    except BaseException:
        _dismiss(program, 0)
        raise


def _dismiss(program: subprocess.Popen[bytes], seconds: float) -> None:
    """Have a program end of which nothing more is wanted: in so many seconds by itself, then
    because it is told to, and at last whether it wants to or not."""
    for end, patience in ((program.terminate, seconds), (program.kill, PATIENCE)):
        with suppress(subprocess.TimeoutExpired):
            program.wait(patience)
            return
        end()
    with suppress(subprocess.TimeoutExpired):  # the host may keep it
        program.wait(PATIENCE)


def _end(program: subprocess.Popen[bytes], command: str, given_up: int) -> None:
    """Wait until a program has ended; it is told to, once nobody needs it any more."""
    ended = os.pidfd_open(program.pid)
    try:
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        poll.register(given_up, select.POLLIN)
        unwanted = given_up in dict(poll.poll())
    finally:
        os.close(ended)
    if unwanted:
        _dismiss(program, 0)
    elif code := program.wait():
        raise OSError(f"{command[:80]!r} has ended with {code}")


def _of_file(text: str, flags: int) -> Passage:
    path, words = split_words(text)
    offset = dict(words).get("offset", "0")
    if not offset.isdecimal() or len(offset) > DIGITS or set(dict(words)) - {"offset"}:
        raise no_place(f"file:{text}")
    fd = os.open(path, flags | os.O_CLOEXEC, PRIVATE)
    try:
        if int(offset):
            os.lseek(fd, int(offset), os.SEEK_SET)
        if flags & os.O_WRONLY and stat.S_ISREG(os.fstat(fd).st_mode):
            os.ftruncate(fd, int(offset))
    except BaseException:
        os.close(fd)
        raise
    return Passage(fd)


def _address(place: str, text: str) -> tuple[str, int]:
    host, _, port = text.partition(",")[0].rpartition(":")
    if not port.isdecimal() or int(port) > 0xFFFF:
        raise no_place(place)
    return host.removeprefix("[").removesuffix("]"), int(port)
