"""What lies between a socket and the protocol: nothing, TLS, WebSocket, or the one upon the other.

A layer turns what comes from the socket into what the protocol reads, and what the protocol writes
into what goes to the socket. None of them has a socket or waits for one.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import late

__all__ = ["ChannelError", "Layer", "TlsLayer", "WebSocketLayer", "tls_context"]

READ_AT_ONCE = 64 << 10
MESSAGE_LIMIT = 1 << 20
"""Bytes of a message of a WebSocket: those of clients have some tens."""

LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))


class ChannelError(Exception):
    """The other end does not speak as it should, or is not allowed to."""


class Layer(Protocol):
    """One layer. All methods raise `ChannelError`."""

    def received(self, data: bytes) -> bytes:
        """What arrived, for whoever is above."""

    def sent(self, data: bytes) -> bytes:
        """What is to be sent, for whoever is below; also what the layer itself has to say, for
        which ``data`` may be empty."""


class TlsLayer:
    """The server's side of TLS. Nothing is to be sent through it before the client has spoken."""

    def __init__(self, context: ssl.SSLContext):
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._ready = False
        self._waiting = bytearray()
        """What is to be sent once both sides have agreed."""

    def received(self, data: bytes) -> bytes:
        """See `Layer`."""
        self._incoming.write(data)
        found = bytearray()
        try:
            if not self._ready:
                self._tls.do_handshake()
                self._ready = True
            while piece := self._tls.read(READ_AT_ONCE):
                found += piece
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            raise ChannelError(f"TLS: {error.reason or error}") from error
        return bytes(found)

    def sent(self, data: bytes) -> bytes:
        """See `Layer`."""
        self._waiting += data
        try:
            if self._ready and self._waiting:
                self._tls.write(self._waiting)
                self._waiting.clear()
        except ssl.SSLError as error:
            raise ChannelError(f"TLS: {error.reason or error}") from error
        return self._outgoing.read()


class WebSocketLayer:
    """The server's side of a WebSocket (RFC 6455), which carries the protocol in binary messages.

    A page in a browser may connect to any address of the host that the browser runs on. So only
    pages that come from this host itself may, and those from ``origins``, as ``https://example``.
    """

    def __init__(self, origins: Sequence[str] = ()):
        self._origins = frozenset(origins)
        self._protocol = _web_socket_protocol()(max_size=MESSAGE_LIMIT)
        self._open = False
        self._waiting = bytearray()

    def received(self, data: bytes) -> bytes:
        """See `Layer`."""
        self._protocol.receive_data(data)
        found = bytearray()
        for event in self._protocol.events_received():
            if not self._open:
                self._answer(event)
            elif event.opcode in (0, 2):
                found += event.data
            elif event.opcode == 8:
                raise ChannelError("the WebSocket was closed")
        error = self._protocol.parser_exc or self._protocol.handshake_exc
        if error is not None:
            raise ChannelError(f"WebSocket: {error}")
        return bytes(found)

    def sent(self, data: bytes) -> bytes:
        """See `Layer`."""
        self._waiting += data
        if self._open and self._waiting:
            self._protocol.send_binary(bytes(self._waiting))
            self._waiting.clear()
        return b"".join(self._protocol.data_to_send())

    def _answer(self, request: Any) -> None:
        """Answer the request by which a client begins."""
        origin = request.headers.get("Origin")
        if origin is None or origin in self._origins or urlsplit(origin).hostname in LOOPBACK:
            response = self._protocol.accept(request)
        else:
            response = self._protocol.reject(403, "this page may not connect here\n")
        self._protocol.send_response(response)
        self._open = response.status_code == 101


def tls_context(certificate: str, key: str | None) -> ssl.SSLContext:
    """What TLS needs of us: a certificate (with those of its issuers) and its key, from files in
    PEM. Raises `BimetalError`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise BimetalError(
            f"the certificate {certificate} cannot be used: {error.strerror or error}",
            "give files in PEM: the certificate, and its key without a password",
            ExitCode.NO_INPUT,
        ) from error
    return context


def _web_socket_protocol() -> Any:
    try:
        return late("websockets.server:ServerProtocol")
    except ImportError as error:
        raise BimetalError(
            "WebSockets are spoken by websockets, which is not installed",
            "install it: pip install 'bimetal[screen]'",
            ExitCode.UNAVAILABLE,
        ) from error
