"""The value of ``--disk``: a path and, behind commas, what kind of disk it makes."""

from __future__ import annotations

from dataclasses import dataclass

from bimetal import BimetalError, ExitCode

__all__ = ["DiskOption", "parse_disk"]


@dataclass(frozen=True)
class DiskOption:
    """A disk as asked for on the command line."""

    path: str
    readonly: bool = False
    snapshot: bool = False
    serial: str = ""


def parse_disk(text: str) -> DiskOption:
    """Read ``PATH[,readonly][,snapshot][,serial=TEXT]``; a comma in the path is written twice.

    Raises `BimetalError` for anything else.
    """
    parts = text.replace(",,", "\0").split(",")
    path, *words = [part.replace("\0", ",") for part in parts]
    options: dict[str, bool | str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if name in ("readonly", "snapshot") and not equals:
            options[name] = True
        elif name == "serial" and equals:
            options[name] = value
        else:
            raise _refused(f"{word!r} means nothing in --disk {text}")
    if not path:
        raise _refused("--disk needs the path of an image")
    return DiskOption(
        path,
        bool(options.get("readonly")),
        bool(options.get("snapshot")),
        str(options.get("serial", "")),
    )


def _refused(cause: str) -> BimetalError:
    return BimetalError(
        cause, "write --disk PATH[,readonly][,snapshot][,serial=TEXT]", ExitCode.USAGE
    )
