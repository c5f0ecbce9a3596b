"""Blocks packed with zstd (RFC 8878): the standard library's, or else the package zstandard."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.snapshot.layout import BLOCK

__all__ = ["pack", "unpack"]

LEVEL = 1
"""Higher levels take several times as long for a few per cent."""

WINDOW = 8 << 20
"""Bytes that unpacking may need to look back."""


def pack(content: bytes) -> bytes:
    """A block, packed. Raises `BimetalError` if this Python cannot do it."""
    module = _zstd()
    if module.__name__ == "zstandard":
        packed: bytes = module.ZstdCompressor(level=LEVEL).compress(content)
    else:
        packed = module.compress(content, LEVEL)
    return packed


def unpack(data: bytes) -> bytes:
    """The inverse of `pack`. Raises `BimetalError` as that does, and ValueError for what is no such
    block, or more than one."""
    module = _zstd()
    content: bytes
    try:
        if module.__name__ == "zstandard":
            reader = module.ZstdDecompressor(max_window_size=WINDOW).stream_reader(data)
            content = reader.read(BLOCK + 1)
        else:
            content = module.ZstdDecompressor().decompress(data, BLOCK + 1)
    except module.ZstdError as failure:
        raise ValueError(f"no zstd: {failure}") from failure
    if len(content) > BLOCK:
        raise ValueError("more than a block")
    return content


def _zstd() -> Any:
    for name in ("compression.zstd", "zstandard"):
        try:
            return import_module(name)
        except ImportError:
            continue
    raise BimetalError(
        "this Python has no zstd for packed snapshots",
        "run 'pip install zstandard', or save without compression",
        ExitCode.UNAVAILABLE,
    )
