"""Sockets that others may dial, opened with errors that say what to do."""

from __future__ import annotations

import os
import socket
import stat

from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["listen_tcp", "listen_unix", "remove_stale"]


def listen_unix(path: str, backlog: int = 1, mode: int = 0o777) -> socket.socket:
    """Listen at the Unix socket ``path``, whose permissions are those in ``mode`` that the umask
    leaves. A socket there that nobody listens to any more is replaced; any other file stays and is
    an error (`BimetalError`)."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        remove_stale(path)
        os.fchmod(listener.fileno(), mode)  # of the file that bind makes
        listener.bind(path)
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
    Raises `BimetalError`.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or "127.0.0.1", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family, backlog=backlog)
    except OSError as error:
        # Python adds the address in its own way to what it says of errors of the system.
        number = error.errno or 0
        reason = os.strerror(number) if number > 0 else error.strerror or error
        raise BimetalError(
            f"cannot listen at tcp:{host}:{port}: {reason}",
            "choose an address of this host and a free port",
            ExitCode.UNAVAILABLE,
        ) from error


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
