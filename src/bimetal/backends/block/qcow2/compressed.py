"""Compressed clusters: raw deflate data (RFC 1951), or a frame of Zstandard (RFC 8878), that
unpacks to one cluster."""

from __future__ import annotations

import os
import zlib
from collections import OrderedDict
from importlib.util import find_spec
from typing import TYPE_CHECKING

from bimetal.backends.block.qcow2.entries import COPIED, packed_place
from bimetal.backends.block.qcow2.header import ZSTD, Header
from bimetal.backends.block.qcow2.words import bad_image
from bimetal.base.errors import BimetalError, ExitCode
from bimetal.base.late import LateModule

if TYPE_CHECKING:
    import zstandard
else:
    zstandard = LateModule("zstandard")

__all__ = ["Compressed", "check_compression", "pack"]

UNPACKED = 16
"""Clusters kept in memory unpacked: guests read them piece by piece."""

DEFLATE_WINDOW = -12
"""What other programs have for reading: 4 KiB, and no header."""

ZSTD_WINDOW = 8 << 20
"""The window that every reader must have (RFC 8878, section 3.1.1.1.2)."""


def check_compression(compression: int, path: str) -> None:
    """Raise `BimetalError` where the library is missing that reads and writes this."""
    if compression == ZSTD and find_spec("zstandard") is None:
        raise BimetalError(
            f"the qcow2 image {path!r} is compressed with zstd",
            "install what reads that: pip install 'bimetal[zstd]'",
            ExitCode.UNAVAILABLE,
        )


def pack(data: bytes | memoryview, compression: int) -> bytes | None:
    """A cluster compressed; None if that makes it no smaller."""
    if compression == ZSTD:
        packed = zstandard.ZstdCompressor().compress(data)
    else:
        deflate = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, DEFLATE_WINDOW, 9)
        packed = deflate.compress(data) + deflate.flush()
    return packed if len(packed) < len(data) else None


class Compressed:
    """The compressed clusters in the file ``fd``, which has the header ``header``."""

    def __init__(self, fd: int, header: Header):
        self._fd, self._bits, self._compression = fd, header.cluster_bits, header.compression
        self._unpacked: OrderedDict[int, bytes] = OrderedDict()

    def unpack(self, entry: int) -> bytes:
        """The bytes of the cluster with this entry. Raises OSError."""
        key = entry & ~COPIED
        data = self._unpacked.get(key)
        if data is None:
            data = self._unpacked[key] = self._read(entry)
            if len(self._unpacked) > UNPACKED:
                self._unpacked.popitem(last=False)
        return data

    def _read(self, entry: int) -> bytes:
        offset, length = packed_place(entry, self._bits)
        packed = os.pread(self._fd, length, offset)
        unpack = _unzstd if self._compression == ZSTD else _inflate
        try:
            data = unpack(packed, 1 << self._bits)
        except (zlib.error, ValueError, MemoryError) as error:
            raise bad_image(f"a compressed cluster at {offset:#x}: {error}") from error
        if len(data) != 1 << self._bits:
            raise bad_image(f"a compressed cluster at {offset:#x} is too short")
        return data


def _inflate(packed: bytes, length: int) -> bytes:
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, length)


def _unzstd(packed: bytes, length: int) -> bytes:
    reader = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW).stream_reader(packed)
    try:
        return bytes(reader.read(length))
    except zstandard.ZstdError as error:
        raise ValueError(error) from error
