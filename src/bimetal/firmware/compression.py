"""Compressed files: gzip (RFC 1952), bzip2, xz, lzma, Zstandard (RFC 8878) and LZ4.

Files of several parts, one behind the other, are read as their own tools read them: all parts that
begin like one, and what is behind them does not count. Nothing grows beyond a limit.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from msgspec import Struct

from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import LateModule
from bimetal.base.sizes import format_size

if TYPE_CHECKING:
    import bz2
    import lzma

    import lz4.block as lz4_block
    import lz4.frame as lz4_frame
    import zstandard
else:
    bz2, lzma, zstandard = LateModule("bz2"), LateModule("lzma"), LateModule("zstandard")
    lz4_block, lz4_frame = LateModule("lz4.block"), LateModule("lz4.frame")

__all__ = ["LIMIT", "compression_of", "decompress"]

LIMIT = 1 << 30
"""Bytes that a file may become, where nobody knows better: more is damage, or an attack."""

GZIP, BZIP2, XZ, LZMA = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x5d\0\0"
ZSTD, LZ4, LZ4_LEGACY = b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"\x02\x21\x4c\x18"
SKIPPED = tuple(bytes((0x50 + n,)) + b"\x2a\x4d\x18" for n in range(16))
"""What parts begin with that readers of Zstandard and LZ4 skip; their size is behind it."""

MARKS = (LZ4, LZ4_LEGACY, *SKIPPED)

CHUNK = 1024
"""Bytes given to a reader of Zstandard at once; they become 32 MiB at most."""
LEGACY_BLOCK = 8 << 20
DICTIONARIES = 1 << 28
"""Bytes that a reader of xz and lzma may take for its work."""


class Compression(Struct, frozen=True):
    """A format: its name, the command that reads it, and how one part is read.

    ``read`` gets data and a limit, and gives back what the part at the start becomes and what is
    behind it; None if there is no library for it. It raises what the library raises, and
    ImportError if that is missing.
    """

    name: str
    command: str
    starts: tuple[bytes, ...]
    read: Callable[[bytes, int], tuple[bytes, bytes]] | None
    package: str = ""


class _TooLarge(Exception):
    """More than the limit."""


class _Cut(Exception):
    """The file ends before its contents do."""


def compression_of(data: bytes) -> Compression | None:
    """How ``data`` is compressed, or None if it does not look compressed."""
    data = _behind_skipped(data)
    for each in FORMATS:
        if data.startswith(each.starts) and (each.name != "lzma" or _is_lzma(data)):
            return each
    return None


def decompress(data: bytes, name: str, limit: int = LIMIT, remedy: str = "") -> bytes:
    """``data`` as it was before compression, or as it is if it does not look compressed.

    Raises `BimetalError` that calls it ``name`` if it is damaged, truncated, larger than ``limit``
    bytes (``remedy`` says what to do then), or compressed in a way that cannot be read here.
    """
    found = compression_of(data)
    if found is None:
        return data
    if found.read is None:
        raise _unreadable(found, name)
    try:
        return b"".join(_parts(found, data, limit))
    except ImportError:
        raise _unreadable(found, name) from None
    except _Cut:
        raise BimetalError(
            f"{name} is damaged: it ends too early", "get the file anew", ExitCode.DATA
        ) from None
    except _TooLarge:
        raise BimetalError(
            f"{name} is too large: it grows beyond {format_size(limit)}",
            remedy or f"decompress it with '{found.command}' and look what is in it",
            ExitCode.DATA,
        ) from None
    except Exception as error:  # each library has its own
        raise BimetalError(
            f"{name} is damaged, or compressed as this Python cannot read it: {error}",
            f"get the file anew, or decompress it with '{found.command}'",
            ExitCode.DATA,
        ) from error


def _parts(found: Compression, data: bytes, limit: int) -> Iterator[bytes]:
    assert found.read is not None
    data = _behind_skipped(data)
    while data.startswith(found.starts):
        part, data = found.read(data, limit)
        limit -= len(part)
        yield part
        if found.name == "xz":
            data = data.lstrip(b"\0")
        data = _behind_skipped(data)


def _behind_skipped(data: bytes) -> bytes:
    while data.startswith(SKIPPED):
        data = data[8 + int.from_bytes(data[4:8], "little") :]
    return data


def _is_lzma(data: bytes) -> bool:
    """The format has no mark; but the size behind its properties is unknown, or sensible."""
    size = int.from_bytes(data[5:13], "little")
    return len(data) > 13 and data[3:5] != b"\0\0" and (size == (1 << 64) - 1 or size < 1 << 40)


# One part of each format


def _gunzip(data: bytes, limit: int) -> tuple[bytes, bytes]:
    stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
    plain = stream.decompress(data, limit + 1)
    return _ended(plain, limit, stream.eof, stream.unused_data)


def _bunzip2(data: bytes, limit: int) -> tuple[bytes, bytes]:
    stream = bz2.BZ2Decompressor()
    plain = stream.decompress(data, limit + 1)
    return _ended(plain, limit, stream.eof, stream.unused_data)


def _unxz(data: bytes, limit: int) -> tuple[bytes, bytes]:
    stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=DICTIONARIES)
    plain = stream.decompress(data, limit + 1)
    return _ended(plain, limit, stream.eof, stream.unused_data)


def _unlzma(data: bytes, limit: int) -> tuple[bytes, bytes]:
    stream = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=DICTIONARIES)
    plain = stream.decompress(data, limit + 1)
    return _ended(plain, limit, stream.eof, b"")


def _unzstd(data: bytes, limit: int) -> tuple[bytes, bytes]:
    stream = zstandard.ZstdDecompressor().decompressobj()
    plain = bytearray()
    for start in range(0, len(data), CHUNK):
        plain += stream.decompress(data[start : start + CHUNK])
        if stream.eof:
            return _ended(bytes(plain), limit, True, stream.unused_data + data[start + CHUNK :])
        if len(plain) > limit:
            break
    return _ended(bytes(plain), limit, False, b"")


def _unlz4(data: bytes, limit: int) -> tuple[bytes, bytes]:
    stream = lz4_frame.LZ4FrameDecompressor()
    plain = stream.decompress(data, limit + 1)
    return _ended(plain, limit, stream.eof, stream.unused_data or b"")


def _unlz4_legacy(data: bytes, limit: int) -> tuple[bytes, bytes]:
    """The format of ``lz4 -l``, which Linux kernels use: blocks of 8 MiB behind their sizes, up to
    the end of the file or another format. Linux puts the size of all at the end."""
    plain, at = bytearray(), len(LZ4_LEGACY)
    while at + 4 <= len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        if plain and (at + 4 == len(data) or data[at : at + 4] in MARKS):
            return bytes(plain), data[at:]
        block = data[at + 4 : at + 4 + size]
        if len(block) < size:
            raise _Cut
        plain += lz4_block.decompress(block, uncompressed_size=LEGACY_BLOCK)
        at += 4 + size
        if len(plain) > limit:
            raise _TooLarge
    if not plain or at < len(data):
        raise _Cut
    return bytes(plain), b""


def _ended(plain: bytes, limit: int, whole: bool, rest: bytes) -> tuple[bytes, bytes]:
    if len(plain) > limit:
        raise _TooLarge
    if not whole:
        raise _Cut
    return plain, rest


FORMATS = (
    Compression("gzip", "gzip -d", (GZIP,), _gunzip),
    Compression("bzip2", "bzip2 -d", (BZIP2,), _bunzip2),
    Compression("xz", "xz -d", (XZ,), _unxz),
    Compression("lzma", "lzma -d", (LZMA,), _unlzma),
    Compression("zstd", "zstd -d", (ZSTD,), _unzstd, "zstandard"),
    Compression("lz4", "lz4 -d", (LZ4,), _unlz4, "lz4"),
    Compression("lz4", "lz4 -d", (LZ4_LEGACY,), _unlz4_legacy, "lz4"),
    Compression("lzop", "lzop -d", (b"\x89LZO\0\r\n\x1a\n",), None),
    Compression("lzip", "lzip -d", (b"LZIP",), None),
    Compression("compress", "uncompress", (b"\x1f\x9d", b"\x1f\xa0"), None),
)


def _unreadable(found: Compression, name: str) -> BimetalError:
    remedy = f"decompress the file with '{found.command}'"
    if found.package:
        remedy = f"run 'pip install {found.package}', or {remedy}"
    return BimetalError(
        f"{name} is compressed with {found.name}, which this Python cannot read",
        remedy,
        ExitCode.UNAVAILABLE,
    )
