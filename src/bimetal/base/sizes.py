"""Sizes in bytes, as people write them: ``512M``, ``4 GiB``, ``0x1000``."""

from __future__ import annotations

import re

from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["GIB", "KIB", "MIB", "format_size", "parse_size"]

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

_SIZE = re.compile(r"\s*(0x[0-9a-f]+|[0-9]+)\s*([kmgt]?)(i?b)?\s*", re.IGNORECASE)
_SHIFT = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}


def parse_size(text: str | int) -> int:
    """Bytes from ``text``; suffixes K, M, G and T are powers of 1024. A plain int is bytes.

    Raises `BimetalError` for anything else.
    """
    if isinstance(text, int):
        if text < 0:
            raise BimetalError(f"size {text} is negative", "give a size like 512M", ExitCode.USAGE)
        return text
    match = _SIZE.fullmatch(text)
    if match is None:
        raise BimetalError(
            f"{text!r} is not a size", "write a number with K, M or G, like 512M", ExitCode.USAGE
        )
    return int(match[1], 0 if match[1][:2].lower() == "0x" else 10) << _SHIFT[match[2].lower()]


def format_size(size: int) -> str:
    """``size`` bytes in the largest unit that divides it: ``512 MiB``, ``1 byte``."""
    for shift, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size >= 1 << shift and size % (1 << shift) == 0:
            return f"{size >> shift} {unit}"
    return f"{size} byte" if size == 1 else f"{size} bytes"
