"""Files that a process cannot open itself, because it is confined, and that another one hands in:
open, over a Unix socket that only the user can reach (unix(7), SCM_RIGHTS)."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterable
from contextlib import suppress

from bimetal.backends.dial import dial_unix
from bimetal.backends.listening import listen_unix

__all__ = ["FDSET", "FDSETS", "Intake", "hand_in", "status_of", "take"]

PATH_LIMIT = 4096
PATIENCE = 5.0
WAITING_LIMIT = 64
"""Files that nobody has taken yet; the oldest is closed for a new one."""

_waiting: dict[tuple[str, bool], int] = {}


FDSET = "/dev/fdset/"
"""What paths begin with that mean a set of descriptors: the number of the set is behind it."""

FDSETS: dict[int, dict[int, str]] = {}
"""Sets of descriptors by their numbers, each descriptor with what its owner says of it. Paths mean
the same everywhere in a process, so there is one of these."""


def take(path: str, *, only_read: bool) -> int | None:
    """The descriptor of a file that was handed in for that path and use, once, or a copy of one in
    a set (`FDSETS`) that can be used so; None if there is none. Raises OSError for a set without
    such a descriptor."""
    if not path.startswith(FDSET):
        return _waiting.pop((path, only_read), None)
    wanted = os.O_RDONLY if only_read else os.O_RDWR
    for fd in _set_at(path):
        if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == wanted:
            return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    raise OSError(errno.ENOENT, "no descriptor of that set can be used so")


def status_of(path: str) -> os.stat_result:
    """What the host says of the file at a path, which may mean a set of descriptors. Raises
    OSError."""
    if not path.startswith(FDSET):
        return os.stat(path)
    for fd in _set_at(path):
        return os.fstat(fd)
    raise FileNotFoundError(errno.ENOENT, "there is no such set of descriptors", path)


def _set_at(path: str) -> Iterable[int]:
    number = path.removeprefix(FDSET)
    return FDSETS.get(int(number), {}) if number.isdecimal() else ()


def hand_in(place: str, files: Iterable[tuple[str, bool]]) -> None:
    """Open ``files``, each a path and whether it is only to be read, and hand them in to the
    process with an `Intake` at ``place``. Raises OSError."""
    for path, only_read in files:
        fd = os.open(path, (os.O_RDONLY if only_read else os.O_RDWR) | os.O_CLOEXEC)
        try:
            with dial_unix(place, PATIENCE) as line:
                told = (b"r" if only_read else b"w") + os.fsencode(path)
                socket.send_fds(line, [told], [fd])
                if line.recv(1) != b"+":
                    raise ConnectionError(f"{place} does not take {path}")
        finally:
            os.close(fd)


class Intake:
    """Takes files at the Unix socket ``place``: `run` does so until `close`. Raises
    `BimetalError`."""

    def __init__(self, place: str):
        self._listener = listen_unix(place, WAITING_LIMIT)

    def run(self) -> None:
        """Serve, one client after the other."""
        with suppress(OSError):
            while True:
                line, _ = self._listener.accept()
                with line, suppress(OSError):
                    line.settimeout(PATIENCE)
                    self._receive(line)

    def close(self) -> None:
        """Take no more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _receive(self, line: socket.socket) -> None:
        told, fds, _, _ = socket.recv_fds(line, PATH_LIMIT + 1, 2)
        if len(fds) != 1 or told[:1] not in (b"r", b"w"):
            for fd in fds:
                os.close(fd)
            return
        os.set_inheritable(fds[0], False)
        key = (os.fsdecode(told[1:]), told[:1] == b"r")
        old = _waiting.pop(key, None)
        if old is None and len(_waiting) >= WAITING_LIMIT:
            old = _waiting.pop(next(iter(_waiting)))
        if old is not None:
            os.close(old)
        _waiting[key] = fds[0]
        line.sendall(b"+")
