"""Sizes in bytes, as people write them: ``512M``, ``4 GiB``, ``1.5G``, ``0x1000``."""

from __future__ import annotations

import re

from bimetal.base.errors import BimetalError, ExitCode

__all__ = ["GIB", "KIB", "MIB", "format_size", "parse_size"]

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30

_SIZE = re.compile(
    r"\s*(0x[0-9a-f]{1,16}|[0-9]{1,20}(?:\.[0-9]{1,20})?)\s*(?:([kmgt])(?:i?b)?|(b))?\s*",
    re.IGNORECASE,
)
_UNITS = {"k": KIB, "m": MIB, "g": GIB, "t": 1 << 40}


def parse_size(text: str | int, unit: int = 1) -> int:
    """Bytes from ``text``; suffixes K, M, G and T are powers of 1024, B is bytes.

    A number in a text that has none of them counts ``unit`` bytes. A plain int is bytes. Raises
    `BimetalError` for anything else, and for a fraction of a byte.
    """
    if isinstance(text, int):
        if text < 0:
            raise BimetalError(f"size {text} is negative", "give a size like 512M", ExitCode.USAGE)
        return text
    match = _SIZE.fullmatch(text)
    if match is None:
        raise _no_size(text)
    number, suffix, plain = match.groups()
    whole, _, tenths = number.partition(".")
    count: int = int(whole + tenths, 16 if number[:2].lower() == "0x" else 10)
    count *= 1 if plain else _UNITS[suffix.lower()] if suffix else unit
    size, rest = divmod(count, 10 ** len(tenths))
    if rest:
        raise _no_size(text)
    return int(size)


def format_size(size: int) -> str:
    """``size`` bytes in the largest unit that divides it: ``512 MiB``, ``1 byte``."""
    for shift, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if size >= 1 << shift and size % (1 << shift) == 0:
            return f"{size >> shift} {unit}"
    return f"{size} byte" if size == 1 else f"{size} bytes"


def _no_size(text: str) -> BimetalError:
    return BimetalError(
        f"{text!r} is not a size", "write a number with K, M, G or T, like 512M", ExitCode.USAGE
    )
