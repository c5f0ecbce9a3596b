"""What a machine may be called: its name is part of the names of files and sockets."""

from __future__ import annotations

from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["check_name", "host_name"]

NAME_LIMIT = 100
"""Bytes of a name."""


def check_name(name: str) -> None:
    """Raise `BimetalError` for a name that no machine can have."""
    wrong = ""
    if not name:
        wrong = "a machine has no name"
    elif len(name.encode(errors="replace")) > NAME_LIMIT:
        wrong = f"the name {name[:40]!r}... is longer than {NAME_LIMIT} bytes"
    elif not name.isprintable() or "/" in name or name.startswith((".", "-")):
        wrong = f"a machine cannot be called {name!r}"
    elif name != name.strip():
        wrong = f"the name {name!r} begins or ends with space"
    elif name.isdecimal():
        wrong = f"a machine cannot be called {name}: numbers are ids of machines that run"
    if wrong:
        raise BimetalError(
            wrong, "use letters, digits and signs but '/', and begin with a letter", ExitCode.DATA
        )


def host_name(name: str) -> str:
    """A name of a host for that of a machine (RFC 1123, 2.1)."""
    plain = "".join(each if each.isascii() and each.isalnum() else "-" for each in name)
    return plain.strip("-")[:63] or "machine"
