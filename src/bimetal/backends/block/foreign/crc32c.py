"""CRC-32C, the checksum of VHDX (RFC 3720, appendix B.4).

Structures of VHDX are mostly zeroes behind a few bytes, and zeroes are passed over: what so many of
them do to a checksum is linear, and twice as many do the same twice.
"""

from __future__ import annotations

from functools import cache

__all__ = ["crc32c"]

POLYNOMIAL = 0x82F63B78
"""Castagnoli's, bits reversed."""


def _entry(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (POLYNOMIAL if value & 1 else 0)
    return value


_TABLE = [_entry(byte) for byte in range(256)]


def crc32c(data: bytes) -> int:
    """The checksum of ``data``."""
    crc, table = 0xFFFFFFFF, _TABLE
    content = data.rstrip(b"\0")
    for byte in content:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return _behind_zeroes(crc, len(data) - len(content)) ^ 0xFFFFFFFF


def _behind_zeroes(crc: int, count: int) -> int:
    """What becomes of ``crc`` by ``count`` zero bytes."""
    for power in range(count.bit_length()):
        if count >> power & 1:
            crc = _apply(_zeroes(power), crc)
    return crc


@cache
def _zeroes(power: int) -> tuple[int, ...]:
    """What two to the ``power`` zero bytes make of each single bit."""
    if power == 0:
        return tuple(1 << bit >> 8 ^ _TABLE[1 << bit & 0xFF] for bit in range(32))
    half = _zeroes(power - 1)
    return tuple(_apply(half, value) for value in half)


def _apply(matrix: tuple[int, ...], value: int) -> int:
    result = 0
    while value:
        lowest = value & -value
        result ^= matrix[lowest.bit_length() - 1]
        value ^= lowest
    return result
