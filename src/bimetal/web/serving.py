"""The socket at which the page is, and the server that listens there."""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

import uvicorn

from bimetal.backends.listening import listen_tcp
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.control.machines import Machines
from bimetal.web.app import make_app
from bimetal.web.guard import LOCAL, Rules

__all__ = ["Site", "new_token"]

BACKLOG = 64
CONNECTIONS_LIMIT = 256
MESSAGE_LIMIT = 1 << 16
"""Bytes of a message from a page's WebSocket: what somebody types, or pastes."""

IDLE_SECONDS = 30
LAST_WORDS = 2
"""Seconds for answers that are on their way when the server ends."""


def new_token() -> str:
    """A token that nobody guesses: 256 bits."""
    return secrets.token_urlsafe(32)


class Site:
    """Serves ``machines`` at ``place``, ``HOST:PORT``, where port 0 is a free one. Who comes in
    knows the ``token``; ``names`` are what we are called besides our address. With a certificate
    and its key, files in PEM, it speaks TLS, without which it listens to this host only.

    `run` it, and `stop` it from any thread. Raises `BimetalError`.
    """

    def __init__(
        self,
        machines: Machines,
        place: str,
        token: str,
        *,
        names: Sequence[str] = (),
        certificate: str = "",
        key: str = "",
    ):
        self.token, self._tls, self._names = token, bool(certificate), names
        host, _, port = place.rpartition(":")
        if not (port.isascii() and port.isdecimal() and int(port[:6]) < 1 << 16):
            raise BimetalError(f"{place!r} is no place", "write HOST:PORT", ExitCode.USAGE)
        tls = _certified(certificate, key) if certificate else {}
        self._socket = listen_tcp(host.removeprefix("[").removesuffix("]"), int(port), BACKLOG)
        if not self._tls and not ip_address(self._socket.getsockname()[0]).is_loopback:
            self._socket.close()
            raise BimetalError(
                f"{place} can be reached from other hosts, and without TLS others read the token",
                "give a certificate: --tls-cert FILE --tls-key FILE, or listen at 127.0.0.1",
                ExitCode.USAGE,
            )
        self._server = uvicorn.Server(
            uvicorn.Config(
                make_app(machines, Rules(token, names)),
                http="h11",
                ws="websockets-sansio",
                ws_max_size=MESSAGE_LIMIT,
                ws_per_message_deflate=False,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=CONNECTIONS_LIMIT,
                timeout_keep_alive=IDLE_SECONDS,
                timeout_graceful_shutdown=LAST_WORDS,
                **tls,
            )
        )

    @property
    def address(self) -> str:
        """Where it is, as somebody may call it: ``http://127.0.0.1:8470/``."""
        host, port = self._socket.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        if ip_address(host).is_unspecified:
            shown = next(iter(self._names), LOCAL)
        return f"{'https' if self._tls else 'http'}://{shown}:{port}/"

    @property
    def link(self) -> str:
        """What a person opens to be let in: what follows ``#`` is not sent to anybody."""
        return f"{self.address}#token={self.token}"

    def run(self) -> None:
        """Serve until `stop`, or until a signal asks for the end."""
        self._server.run([self._socket])

    def stop(self) -> None:
        """Have `run` return soon."""
        self._server.should_exit = True

    def close(self) -> None:
        """Close the socket. Idempotent."""
        self._socket.close()


def _certified(certificate: str, key: str) -> dict[str, Any]:
    """What the server is told of TLS. Raises `BimetalError` for files that cannot be used."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key or None)
    except (OSError, ssl.SSLError) as error:
        raise BimetalError(
            f"the certificate {certificate} cannot be used: {error.strerror or error}",
            "give a certificate and its key, in PEM",
            ExitCode.NO_INPUT,
        ) from error
    return {"ssl_certfile": certificate, "ssl_keyfile": key or None}
