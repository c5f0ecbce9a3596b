"""Where the other end of a cable is: ``HOST:PORT``, ``[::1]:PORT``, ``:PORT`` or ``unix:PATH``."""

from __future__ import annotations

import socket

from msgspec import Struct

from bimetal.backends.net.options import Options, refusal
from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["Address", "address_option", "parse_address"]

UNIX = "unix:"
FORMS = "HOST:PORT, [::1]:PORT or unix:PATH"


class Address(Struct, frozen=True):
    """A port of a host, or the ``path`` of a Unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return UNIX + self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def resolve(self, kind: socket.SocketKind) -> tuple[socket.AddressFamily, object]:
        """The family and the address as sockets take it; no host means this one. Raises
        `BimetalError` for a name that nobody knows."""
        if self.path:
            return socket.AF_UNIX, self.path
        try:
            family, _, _, _, address = socket.getaddrinfo(
                self.host or "127.0.0.1", self.port, type=kind
            )[0]
        except OSError as error:
            raise BimetalError(
                f"the address {self} is not known: {error.strerror or error}",
                "check the name of the host",
                ExitCode.UNAVAILABLE,
            ) from error
        return family, address


def parse_address(text: str) -> Address:
    """Read an address. Raises `BimetalError` for what is none."""
    if text.startswith(UNIX) and len(text) > len(UNIX):
        return Address(path=text.removeprefix(UNIX))
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isdecimal() or int(port) > 0xFFFF or (":" in bare and bare == host):
        raise refusal(f"{text!r} is no address", f"write {FORMS}")
    return Address(bare, int(port))


def address_option(options: Options, name: str, prefix: str) -> Address | None:
    """The address that ``name=`` gives, or QEMU's words for it, ``PREFIX.type=inet``, ``.host=``,
    ``.port=``, or ``.type=unix``, ``.path=``. None if there is none. Raises `BimetalError`."""
    short = options.text(name)
    kind = options.text(f"{prefix}.type")
    host, port = options.text(f"{prefix}.host"), options.number(f"{prefix}.port", 0, 0xFFFF)
    path = options.text(f"{prefix}.path")
    dotted = [word for word in (kind, host, port, path) if word is not None]
    if short is not None and not dotted:
        return parse_address(short)
    if short is None and not dotted:
        return None
    if short is None and kind == "inet" and port is not None and path is None:
        return Address(host or "", port)
    if short is None and kind == "unix" and path and host is None and port is None:
        return Address(path=path)
    raise refusal(
        f"{prefix}.* of the network {options.kind} is no whole address",
        f"write {name}={FORMS.split(', ', 1)[0]} or {name}=unix:PATH",
    )
