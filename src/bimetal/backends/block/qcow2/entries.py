"""Entries of L1 and L2 tables: where in the file something is, and what may be done with it."""

from __future__ import annotations

__all__ = ["COMPRESSED", "COPIED", "OFFSET", "ZERO", "packed_place"]

COPIED = 1 << 63
"""Nothing else refers to the cluster or table: it may be written in place."""

COMPRESSED = 1 << 62
ZERO = 1
OFFSET = 0x00FF_FFFF_FFFF_FE00


def packed_place(entry: int, cluster_bits: int) -> tuple[int, int]:
    """Where in the file the bytes of a compressed cluster lie, and how many at most."""
    split_at = 62 - (cluster_bits - 8)
    offset = entry & (1 << split_at) - 1
    sectors = (entry & COMPRESSED - 1) >> split_at
    return offset, (sectors + 1) * 512 - offset % 512
