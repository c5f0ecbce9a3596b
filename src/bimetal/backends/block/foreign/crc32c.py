"""CRC-32C, the checksum of VHDX (RFC 3720, appendix B.4)."""

from __future__ import annotations

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
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
