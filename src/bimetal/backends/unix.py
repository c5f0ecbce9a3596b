"""Unix sockets of the host that machines listen at."""

from __future__ import annotations

import os
import socket
import stat

from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["listen_at"]


def listen_at(path: str, backlog: int = 1) -> socket.socket:
    """Listen at the Unix socket ``path``. A socket there that nobody listens to any more is
    replaced; any other file stays and is an error (`BimetalError`)."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale_socket(path)
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


def _remove_stale_socket(path: str) -> None:
    """Remove what an earlier run left at ``path``, if it is a socket without a listener."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(f"{path} exists and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except BlockingIOError:
            pass  # someone listens and is busy: `bind` will say so
