"""Secrets that are in files, as command lines are seen by everybody on a host."""

from __future__ import annotations

from pathlib import Path

from bimetal import BimetalError, ExitCode

__all__ = ["first_line"]

LIMIT = 4096


def first_line(path: Path, what: str) -> str:
    """The first line of a file, of which people think as ``what``. Raises `BimetalError`."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline(LIMIT).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BimetalError(
            f"the {what} file {path} cannot be read: {getattr(error, 'strerror', error)}",
            "check the path and its permissions",
            ExitCode.NO_INPUT,
        ) from error
