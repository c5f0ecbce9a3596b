"""Archives of object files, as ar(1) makes them: the members and their names.

Source: ar(5) of FreeBSD, section "DESCRIPTION", for the common format and its GNU and BSD variants.
"""

from __future__ import annotations

from collections.abc import Iterator

from bimetal import BimetalError, ExitCode

__all__ = ["is_archive", "members"]

MAGIC, THIN = b"!<arch>\n", b"!<thin>\n"
HEADER_SIZE, TRAILER = 60, b"`\n"
TABLES = ("/", "//", "/SYM64/", "__.SYMDEF", "__.SYMDEF SORTED", "__.SYMDEF_64")
"""Members that are for linkers, or hold names of others."""


def is_archive(data: bytes) -> bool:
    """Whether ``data`` begins like an archive."""
    return data.startswith((MAGIC, THIN))


def members(data: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    """Name and contents of each member. Raises `BimetalError` that calls the archive ``name``."""
    if data.startswith(THIN):
        raise BimetalError(
            f"{name} is a thin archive: its members are files of their own",
            "give those files",
            ExitCode.DATA,
        )
    at, long_names = len(MAGIC), b""
    while at < len(data):
        header = data[at : at + HEADER_SIZE]
        length = header[48:58].strip()
        if len(header) < HEADER_SIZE or header[58:60] != TRAILER or not length.isdigit():
            raise _damaged(name, at)
        at += HEADER_SIZE
        size = int(length)
        content = data[at : at + size]
        if len(content) < size:
            raise _damaged(name, at)
        at += size + size % 2
        member = header[:16].decode("latin-1").rstrip()
        if member.startswith("#1/") and member[3:].isdecimal():
            length_of_name = int(member[3:])
            member = content[:length_of_name].rstrip(b"\0").decode("utf-8", "replace")
            content = content[length_of_name:]
        elif member == "//":
            long_names = content
        elif member[:1] == "/" and member[1:].isdecimal():
            long = long_names[int(member[1:]) :].split(b"\n", 1)[0]
            member = long.decode("utf-8", "replace").removesuffix("/")
        elif member not in TABLES:
            member = member.removesuffix("/")
        if member not in TABLES:
            yield member, content


def _damaged(name: str, at: int) -> BimetalError:
    return BimetalError(
        f"{name} is damaged: no member of the archive at {at}", "get the file anew", ExitCode.DATA
    )
