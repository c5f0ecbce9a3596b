"""Reference counts of 1 to 64 bits each, as they stand in a block and as an array.

Counts narrower than a byte begin at its least significant bit.
"""

from __future__ import annotations

import sys
from array import array
from functools import cache

from bimetal.backends.block.qcow2.words import words_to_bytes

__all__ = ["new_counts", "pack", "unpack"]

_CODES = {1: "B", 2: "B", 4: "B", 8: "B", 16: "H", 32: "I", 64: "Q"}


def new_counts(bits: int, length: int) -> array[int]:
    """``length`` counts of zero."""
    return array(_CODES[bits], bytes(length * array(_CODES[bits]).itemsize))


def unpack(data: bytes, bits: int) -> array[int]:
    """The counts in ``data``."""
    if bits < 8:
        return array("B", b"".join(map(_pieces(bits).__getitem__, data)))
    counts = array(_CODES[bits], data)
    if sys.byteorder == "little":
        counts.byteswap()
    return counts


def pack(counts: array[int], bits: int) -> bytes:
    """``counts``, which fill whole bytes, as the bytes in the file."""
    if bits >= 8:
        return words_to_bytes(counts)
    per_byte = 8 // bits
    packed = bytearray(len(counts) // per_byte)
    for at, count in enumerate(counts):
        packed[at // per_byte] |= count << at % per_byte * bits
    return bytes(packed)


@cache
def _pieces(bits: int) -> list[bytes]:
    """What each byte holds, a byte for each count."""
    mask = (1 << bits) - 1
    return [bytes(byte >> at & mask for at in range(0, 8, bits)) for byte in range(256)]
