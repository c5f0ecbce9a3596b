"""The value of ``--disk``: a path and, behind commas, what kind of disk it makes."""

from __future__ import annotations

from dataclasses import dataclass

from bimetal import BimetalError, ExitCode

__all__ = ["FORM", "DiskOption", "parse_disk"]

FORM = "PATH[,format=raw|qcow2][,readonly][,snapshot][,serial=TEXT]"

SWITCHES = ("readonly", "snapshot")
TEXTS = ("format", "serial")


@dataclass(frozen=True)
class DiskOption:
    """A disk as asked for on the command line: a path, and the options of `Machine.disk`."""

    path: str
    format: str | None = None
    readonly: bool = False
    snapshot: bool = False
    serial: str = ""


def parse_disk(text: str) -> DiskOption:
    """Read what `FORM` shows; a comma in the path is written twice, a switch may be ``=on`` or
    ``=off``. Raises `BimetalError` for anything else.
    """
    parts = text.replace(",,", "\0").split(",")
    path, *words = [part.replace("\0", ",") for part in parts]
    if not path or path.startswith("file="):
        raise _refused(f"--disk {text} does not begin with the path of an image")
    options: dict[str, str | bool] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if name in options:
            raise _refused(f"{name!r} stands twice in --disk {text}")
        if name in SWITCHES and (not equals or value in ("on", "off")):
            options[name] = value != "off"
        elif name in TEXTS and value:
            options[name] = value
        else:
            raise _refused(f"{word!r} means nothing in --disk {text}")
    return DiskOption(path, **options)  # type: ignore[arg-type]  # of the types just chosen


def _refused(cause: str) -> BimetalError:
    return BimetalError(
        cause, f"write --disk {FORM}; a comma in the path is written twice", ExitCode.USAGE
    )
