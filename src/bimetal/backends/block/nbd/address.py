"""Where an NBD server is: addresses as the protocol's URIs say them, and as QEMU does.

Sources: the NBD URI specification (https://github.com/NetworkBlockDevice/nbd, doc/uri.md), and
qemu(1), "NBD".
"""

from __future__ import annotations

import re
from urllib.parse import parse_qs, quote, unquote, urlsplit

from msgspec import Struct

from bimetal.backends.block.nbd.protocol import DEFAULT_PORT
from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["Address", "is_address", "parse_address"]

FORMS = "nbd://HOST[:PORT][/EXPORT], nbd+unix:///EXPORT?socket=PATH, or nbd:unix:PATH"

SCHEME = re.compile(r"nbds?(\+[a-z]+)?:", re.IGNORECASE)

EXPORT_NAME = ":exportname="


class Address(Struct, frozen=True):
    """A server, at ``host`` and ``port`` or at the Unix socket ``path``, and the name of what it
    serves."""

    export: str = ""
    host: str = ""
    port: int = DEFAULT_PORT
    path: str = ""

    def __str__(self) -> str:
        export = quote(self.export)
        if self.path:
            return f"nbd+unix:///{export}?socket={quote(self.path)}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"nbd://{host}:{self.port}" + (f"/{export}" if export else "")


def is_address(path: str) -> bool:
    """Whether ``path`` is an address and not a file: what begins like one (a file with such a name
    is ``./nbd:...``)."""
    return SCHEME.match(path) is not None


def parse_address(text: str) -> Address:
    """Read an address. Raises `BimetalError`."""
    scheme, _, rest = text.partition(":")
    scheme = scheme.lower()
    if scheme.startswith("nbds"):
        raise _refused(text, "asks for TLS, which is not supported", "use a tunnel, such as ssh -L")
    if "\0" in text:
        raise _refused(text, "has a zero byte")
    try:
        if not rest.startswith("//"):
            address = _of_qemu(rest) if scheme == "nbd" else None
        elif scheme == "nbd":
            address = _of_tcp(text)
        elif scheme == "nbd+unix":
            address = _of_socket(text)
        else:
            address = None
    except ValueError as error:
        raise _refused(text, f"is no address: {error}") from error
    if address is None:
        raise _refused(text, "is no address of an NBD server")
    return address


def _of_tcp(text: str) -> Address:
    parts = urlsplit(text)
    if parts.query or parts.fragment or parts.username:
        raise ValueError("there is more than a host, a port and an export")
    port = parts.port  # raises ValueError for what is none
    if port == 0:
        raise ValueError("there is no port 0")
    host = parts.hostname or "localhost"
    return Address(unquote(parts.path[1:]), host, DEFAULT_PORT if port is None else port)


def _of_socket(text: str) -> Address | None:
    parts = urlsplit(text)
    query = parse_qs(parts.query, strict_parsing=bool(parts.query))
    paths = query.pop("socket", [])
    if parts.netloc or query or len(paths) != 1:
        return None
    return Address(unquote(parts.path[1:]), path=paths[0])


def _of_qemu(rest: str) -> Address | None:
    """``unix:PATH`` or ``HOST:PORT``, and ``:exportname=EXPORT``."""
    where, _, export = rest.partition(EXPORT_NAME)
    if where.startswith("unix:"):
        path = where.removeprefix("unix:")
        return Address(export, path=path) if path else None
    host, _, port = where.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        return None
    return Address(export, host.strip("[]") or "localhost", int(port))


def _refused(text: str, why: str, remedy: str = "") -> BimetalError:
    return BimetalError(f"{text!r} {why}", remedy or f"write {FORMS}", ExitCode.USAGE)
