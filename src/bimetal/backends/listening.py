"""Sockets that others may dial, opened with errors that say what to do."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["inherited_listener", "listen_tcp", "listen_unix", "remove_stale", "short_path"]

ADDRESS_LIMIT = 107
"""Bytes of a path in the address of a Unix socket (unix(7))."""


@contextmanager
def short_path(path: str) -> Iterator[str]:
    """Another name for ``path``, for a moment, if it is too long for an address of a socket; what
    the folder is called does not matter then. Raises OSError."""
    if len(os.fsencode(path)) <= ADDRESS_LIMIT:
        yield path
        return
    folder, name = os.path.split(os.path.abspath(path))
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{name}"
    finally:
        os.close(fd)


def listen_unix(path: str, backlog: int = 1, mode: int = 0o777) -> socket.socket:
    """Listen at the Unix socket ``path``, whose permissions are those in ``mode`` that the umask
    leaves. A socket there that nobody listens to any more is replaced; any other file stays and is
    an error (`BimetalError`)."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short_path(path) as short:
            remove_stale(short)
            os.fchmod(listener.fileno(), mode)  # of the file that bind makes
            listener.bind(short)
        listener.listen(backlog)
    except OSError as error:
        listener.close()
        raise BimetalError(
            f"cannot listen at unix socket {path!r}: {error.strerror or error}",
            "name a new file in a folder that you may write to",
            ExitCode.UNAVAILABLE,
        ) from error
    return listener


def listen_tcp(host: str, port: int, backlog: int = 1) -> socket.socket:
    """Listen at ``host`` (a name or an IPv4 or IPv6 address) and ``port`` (0: any free one).

    No host means this machine only: a console or a cable is not for the whole network by accident.
    ``::`` means all addresses, those of IPv4 too.
    Raises `BimetalError`.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or "127.0.0.1", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        everywhere = address[0] == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(
            address[:2], family=family, backlog=backlog, dualstack_ipv6=everywhere
        )
    except OSError as error:
        # Python adds the address in its own way to what it says of errors of the system.
        number = error.errno or 0
        reason = os.strerror(number) if number > 0 else error.strerror or error
        raise BimetalError(
            f"cannot listen at tcp:{host}:{port}: {reason}",
            "choose an address of this host and a free port",
            ExitCode.UNAVAILABLE,
        ) from error


def inherited_listener(number: int) -> socket.socket:
    """The socket with the descriptor ``number`` at which whoever has started us listens. The
    descriptor stays open: it may be asked for again. Raises `BimetalError`."""
    try:
        listener = socket.socket(fileno=os.dup(number))
        if listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return listener
        listener.close()
        reason = "nobody listens there"
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    raise BimetalError(
        f"descriptor {number} is no socket at which one could listen: {reason}",
        "start it with a socket that is bound and listens",
        ExitCode.UNAVAILABLE,
    )


def remove_stale(path: str, kind: socket.SocketKind = socket.SOCK_STREAM) -> None:
    """Remove what an earlier run left at ``path``, if it is a socket that nobody has open. Raises
    FileExistsError for any other file."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(f"{path} exists and is no socket")
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except BlockingIOError:
            pass  # someone listens and is busy: `bind` will say so
