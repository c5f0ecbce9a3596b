"""The files in which people hand in definitions, of machines and of devices."""

from __future__ import annotations

from pathlib import Path

from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["read_document"]

READ_LIMIT = 2 << 20
"""Bytes of a file that are read, which may be a device without an end: no definition is as long."""


def read_document(path: str) -> bytes:
    """What a document says: of one that is too long, enough for whoever parses it to say so.
    Raises `BimetalError`."""
    try:
        with Path(path).open("rb") as file:
            return file.read(READ_LIMIT)
    except OSError as error:
        raise BimetalError(
            f"Failed to open file '{path}': {error.strerror}", "", ExitCode.NO_INPUT
        ) from error
