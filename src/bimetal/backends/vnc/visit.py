"""What is told of viewers who come and go."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    import socket

    from bimetal.backends.vnc.hello import Access

__all__ = ["Address", "Stage", "Visit", "way_in"]

Address = tuple[str, int] | str
"""Host and port, or the path of a Unix socket, "" for one without."""


class Stage(Enum):
    """How far a viewer is."""

    CONNECTED = "connected"
    INITIALIZED = "let in"
    DISCONNECTED = "gone"


class Visit(Struct, frozen=True):
    """A viewer at the address ``client`` who is connected to that of the ``server``, perhaps by a
    WebSocket, and is let in by the ``way`` that `way_in` tells."""

    client: Address
    server: Address
    web_socket: bool
    way: str

    @classmethod
    def of(cls, connection: socket.socket, web_socket: bool, way: str) -> Visit:
        """That of a ``connection``. Raises OSError if there is none any more."""
        client, server = connection.getpeername(), connection.getsockname()
        return cls(_address(client), _address(server), web_socket, way)


def way_in(access: Access) -> str:
    """What viewers have to do, in QEMU's words."""
    known = "none" if access.password is None else "vnc"
    if access.tls is None:
        return known
    return f"vencrypt+x509+{known}"


def _address(name: object) -> Address:
    if isinstance(name, tuple):
        return str(name[0]), int(name[1])
    return name if isinstance(name, str) else ""
