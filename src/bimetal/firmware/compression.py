"""Compressed kernels: gzip (RFC 1952) and Zstandard (RFC 8878)."""

from __future__ import annotations

import zlib
from typing import Any

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.sizes import format_size

try:
    import zstandard
except ImportError:
    zstandard = None  # type: ignore[assignment,unused-ignore]

__all__ = ["LIMIT", "decompress"]

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"

LIMIT = 1 << 30
"""Bytes that a compressed kernel may become: more is damage, or an attack on the host."""


def decompress(data: bytes, name: str, limit: int = LIMIT) -> bytes:
    """``data`` as it was before compression, or as it is if it does not look compressed.

    Raises `BimetalError` that calls it ``name`` if it is damaged, truncated or too large.
    """
    if data.startswith(GZIP):
        return _gunzip(data, name, limit)
    if data.startswith(ZSTD):
        return _unzstd(data, name, limit)
    return data


def _gunzip(data: bytes, name: str, limit: int) -> bytes:
    stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        plain = stream.decompress(data, limit)
    except zlib.error as error:
        raise _damaged(name, str(error)) from error
    if stream.eof:
        return plain
    if stream.unconsumed_tail:
        raise _damaged(name, f"it grows beyond {format_size(limit)}")
    raise _damaged(name, "it ends too early")


def _unzstd(data: bytes, name: str, limit: int) -> bytes:
    if zstandard is None:
        raise BimetalError(
            f"{name} is compressed with zstd, which this Python cannot read",
            "run 'pip install zstandard', or decompress the file with 'zstd -d'",
            ExitCode.UNAVAILABLE,
        )
    stream: Any = zstandard.ZstdDecompressor().decompressobj()
    plain = bytearray()
    try:
        for start in range(0, len(data), 1 << 16):
            plain += stream.decompress(data[start : start + (1 << 16)])
            if len(plain) > limit:
                raise _damaged(name, f"it grows beyond {format_size(limit)}")
            if stream.eof:
                return bytes(plain)
    except zstandard.ZstdError as error:
        raise _damaged(name, str(error)) from error
    raise _damaged(name, "it ends too early")


def _damaged(name: str, how: str) -> BimetalError:
    return BimetalError(f"{name} is damaged: {how}", "get the file anew", ExitCode.DATA)
