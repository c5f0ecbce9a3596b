"""Who is let in.

A browser sends requests on behalf of any page that a person looks at. So three things are asked of
each request, before anything else is done:

* Its host is one that means us: an IP address, ``localhost``, or a name that we were told. Another
  name is that of a foreign page which has its name lead here (DNS rebinding).
* Its origin, if it tells one, is ours.
* To do or see anything, it has the token: ``Authorization: Bearer TOKEN``, or, of a WebSocket, for
  which pages cannot say that, the subprotocol ``token.TOKEN`` beside ours. There is no cookie: it
  would be sent by whichever page asks, and to whichever program listens at another port.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hmac import compare_digest
from ipaddress import ip_address

from msgspec import Struct
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bimetal.base.veiling import veiled
from bimetal.web.problems import problem

__all__ = ["LOCAL", "PROTOCOL", "SECURE_HEADERS", "Guard", "Rules"]

PROTOCOL = "bimetal"
"""The subprotocol of our WebSockets."""

TOKEN_PROTOCOL = "token."
LOCAL = "localhost"
HOST_AND_PORT = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{0,5})?")
"""What the header ``Host`` may say (RFC 9110, 7.2)."""

READING = "GET", "HEAD"

SECURE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' "
    "'unsafe-inline'; img-src 'self' blob: data:; font-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Headers of all answers. Styles may be inline, as the terminal and the screen set theirs so."""


class Rules(Struct, frozen=True):
    """Who is let in: who knows the ``token``, and calls us by one of these ``names``, by
    ``localhost`` or by an IP address."""

    token: str
    names: Sequence[str] = ()

    def __repr__(self) -> str:
        return veiled(self, "token")

    def knows(self, host: str) -> bool:
        """Whether ``NAME[:PORT]`` means us."""
        parts = HOST_AND_PORT.fullmatch(host.lower())
        name = parts[1].strip("[]") if parts else ""
        if name == LOCAL or name in {each.lower() for each in self.names}:
            return True
        try:
            return bool(ip_address(name))
        except ValueError:
            return False

    def accepts(self, token: str) -> bool:
        """Whether that is the token. It takes as long whatever is wrong with it."""
        return compare_digest(token.encode(errors="replace"), self.token.encode())


class Guard:
    """Lets those requests through to ``app`` that the rules allow."""

    def __init__(self, app: ASGIApp, rules: Rules):
        self._app, self._rules = app, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return

        is_page = self._is_page(scope)

        async def secured(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                headers.update(SECURE_HEADERS)
                headers.setdefault("Cache-Control", "no-cache" if is_page else "no-store")
            await send(message)

        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, secured)
            return
        status, title, detail = refusal
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
        await problem(status, title, detail, **headers)(scope, receive, secured)

    def _refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        """Why a request is refused: the status, what is wrong, what to do."""
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or not self._rules.knows(hosts[0]):
            host = hosts[0][:80] if hosts else ""
            return 421, f"{host!r} is no name of this server", "tell it: bimetal web --name NAME"
        secure = scope["scheme"] in ("https", "wss")
        ours = f"{'https' if secure else 'http'}://{hosts[0]}"
        if origins not in ([], [ours]):
            return 403, f"a page of {origins[0][:80]!r} asks", "use the page that this server has"
        if self._is_page(scope) or self._rules.accepts(_token_of(headers)):
            return None
        return 401, "the token is missing, or is another server's", "see what bimetal web printed"

    @staticmethod
    def _is_page(scope: Scope) -> bool:
        """Whether the page itself is asked for, which is the same for everybody."""
        reads = scope["type"] == "http" and scope["method"] in READING
        return reads and not f"{scope['path']}/".startswith("/api/")


def _token_of(headers: Headers) -> str:
    """The token that a request has, "" if it has none."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return token.strip()
    for protocol in headers.get("sec-websocket-protocol", "").split(","):
        if protocol.strip().startswith(TOKEN_PROTOCOL):
            return protocol.strip().removeprefix(TOKEN_PROTOCOL)
    return ""
