"""Connections to sockets of this host."""

from __future__ import annotations

import socket

from bimetal.backends.listening import short_path

__all__ = ["dial_unix"]


def dial_unix(path: str, seconds: float) -> socket.socket:
    """A connection to the Unix socket at ``path``, whose operations take so many seconds at most.
    Raises OSError."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(seconds)
        with short_path(path) as short:
            connection.connect(short)
    except BaseException:
        connection.close()
        raise
    return connection
