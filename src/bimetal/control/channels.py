"""Where a machine goes to, or comes from, as clients say it: a URI, or channels (QEMU's
qapi/migration.json, MigrationChannel)."""

from __future__ import annotations

from typing import Any

from bimetal.base.errors import ExitCode
from bimetal.control.failures import CommandFailed, ErrorClass

__all__ = ["place_of"]

FD = "fd:"


def place_of(uri: str | None, channels: list[dict[str, Any]] | None) -> str:
    """The place, in the words of `backends.passage`, but for descriptors, which are called by their
    names. Raises `CommandFailed`."""
    if (uri is None) is (channels is None):
        raise _wrong("a place is said once", "give uri, or channels")
    if uri is not None:
        return uri
    assert channels is not None
    if len(channels) != 1 or channels[0].get("channel-type") != "main":
        raise _wrong("there is one channel, of the type main", "leave others away")
    address = channels[0].get("addr")
    match address if isinstance(address, dict) else {}:
        case {"transport": "socket", "type": "inet", "host": str(host), "port": port}:
            return f"tcp:[{host}]:{port}" if ":" in host else f"tcp:{host}:{port}"
        case {"transport": "socket", "type": "unix", "path": str(path)}:
            return f"unix:{path}"
        case {"transport": "socket", "type": "fd", "str": str(name)}:
            return f"{FD}{name}"
        case {"transport": "exec", "args": ["/bin/sh", "-c", str(command)]}:
            return f"exec:{command}"
        case {"transport": "file", "filename": str(path), "offset": int(offset)}:
            return f"file:{path.replace(',', ',,')},offset={offset}"
    raise _wrong(
        "the channel's address is not there",
        "write a socket of the type inet, unix or fd; exec with /bin/sh -c COMMAND; or a file",
    )


def _wrong(what: str, remedy: str) -> CommandFailed:
    return CommandFailed(ErrorClass.GENERIC, what, remedy, ExitCode.USAGE)
