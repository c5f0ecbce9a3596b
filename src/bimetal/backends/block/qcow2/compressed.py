"""Compressed clusters: raw deflate data (RFC 1951) that unpacks to one cluster."""

from __future__ import annotations

import os
import zlib
from collections import OrderedDict

from bimetal.backends.block.qcow2.entries import COPIED, packed_place
from bimetal.backends.block.qcow2.words import bad_image

__all__ = ["Compressed"]

UNPACKED = 16
"""Clusters kept in memory unpacked: guests read them piece by piece."""


class Compressed:
    """The compressed clusters in the file ``fd``."""

    def __init__(self, fd: int, cluster_bits: int):
        self._fd, self._bits = fd, cluster_bits
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
        try:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, 1 << self._bits)
        except zlib.error as error:
            raise bad_image(f"a compressed cluster at {offset:#x}: {error}") from error
        if len(data) != 1 << self._bits:
            raise bad_image(f"a compressed cluster at {offset:#x} is too short")
        return data
