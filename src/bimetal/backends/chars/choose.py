"""A line's far end by its name, as the command line and the Python interface write it."""

from __future__ import annotations

from collections.abc import Callable

from bimetal.backends.chars.escape import EscapeAction
from bimetal.backends.chars.file import FileSink
from bimetal.backends.chars.null import NoChars
from bimetal.backends.chars.protocol import CharBackend
from bimetal.backends.chars.pty import Pty
from bimetal.backends.chars.server import Server
from bimetal.backends.chars.stdio import Stdio
from bimetal.backends.listening import inherited_listener
from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["FORMS", "open_chars"]

FORMS = "stdio, pty, file:PATH, unix:PATH, tcp:HOST:PORT, fd:NUMBER or none"


def _nothing(*_: object) -> None:
    """What happens at the terminal unless the program says otherwise."""


def open_chars(
    name: str,
    on_action: Callable[[EscapeAction], None] = _nothing,
    on_gone: Callable[[], None] = _nothing,
) -> CharBackend:
    """The far end called ``name``, one of `FORMS`; ``on_action`` hears the terminal's escape key,
    ``on_gone`` that nobody reads standard output any more.

    Raises `BimetalError` for any other name, and for what the host refuses.
    """
    kind, _, where = name.partition(":")
    match kind:
        case "stdio" if not where:
            return Stdio(on_action, on_gone=on_gone)
        case "pty" if not where:
            return Pty()
        case "none" if not where:
            return NoChars()
        case "file" if where:
            return FileSink(where)
        case "unix" if where:
            return Server.unix(where)
        case "fd" if where.isdecimal():
            return Server(inherited_listener(int(where)), name)
        case "tcp" if where:
            return Server.tcp(*_host_and_port(where))
    raise BimetalError(f"{name!r} is no place for a console", f"write {FORMS}", ExitCode.USAGE)


def _host_and_port(where: str) -> tuple[str, int]:
    host, _, port = where.rpartition(":")
    if not port.isdecimal() or int(port) > 0xFFFF:
        raise BimetalError(
            f"tcp:{where} has no port number",
            "write tcp:HOST:PORT, like tcp:127.0.0.1:4321 or tcp:[::1]:4321",
            ExitCode.USAGE,
        )
    return host.removeprefix("[").removesuffix("]"), int(port)
