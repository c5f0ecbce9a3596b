"""Entries of L1 and L2 tables: where in the file something is, and what may be done with it.

An extended entry has a second word, here above the first one: a bit for each subcluster that is
allocated, and above those a bit for each that reads as zeroes.
"""

from __future__ import annotations

from bimetal.backends.block.qcow2.header import SUBCLUSTERS

__all__ = [
    "ALL_ALLOCATED",
    "ALL_ZERO",
    "COMPRESSED",
    "COPIED",
    "EMPTY",
    "OFFSET",
    "WORD",
    "ZERO",
    "allocated",
    "contradiction",
    "packed_place",
    "reserved",
    "subcluster",
    "uniform",
    "zeroed",
]

COPIED = 1 << 63
"""Nothing else refers to the cluster or table: it may be written in place."""

COMPRESSED = 1 << 62
ZERO = 1
EMPTY = 2
"""Never in a file: of a subcluster, that there is a place for it and nothing in it."""

OFFSET = 0x00FF_FFFF_FFFF_FE00

WORD = (1 << 64) - 1
_BITS = (1 << SUBCLUSTERS) - 1
_ALLOCATED_AT, _ZERO_AT = 64, 64 + SUBCLUSTERS

ALL_ALLOCATED = _BITS << _ALLOCATED_AT
ALL_ZERO = _BITS << _ZERO_AT


def packed_place(entry: int, cluster_bits: int) -> tuple[int, int]:
    """Where in the file the bytes of a compressed cluster lie, and how many at most."""
    split_at = 62 - (cluster_bits - 8)
    offset = entry & (1 << split_at) - 1
    sectors = (entry & COMPRESSED - 1) >> split_at
    return offset, (sectors + 1) * 512 - offset % 512


def reserved(*, extended: bool) -> int:
    """The bits that are never set in the first word of an entry, unless it is of a compressed
    cluster."""
    return WORD & ~(COPIED | OFFSET | (0 if extended else ZERO))


def contradiction(entry: int, *, extended: bool, outside: bool) -> str:
    """What no entry may say, and this one does: "" if there is nothing. ``outside`` means that the
    clusters lie in a file of their own, the first of them at 0."""
    bits = entry >> 64
    if entry & COMPRESSED:
        if bits:
            return "has parts of a compressed cluster"
        return "marks a compressed cluster as used once" if entry & COPIED else ""
    if found := entry & reserved(extended=extended):
        return f"has reserved bits: {found:#x}"
    if bits & bits >> SUBCLUSTERS & _BITS:
        return "calls what is there zero"
    if bits & _BITS and not entry & (OFFSET | COPIED if outside else OFFSET):
        return "has parts of no cluster"
    return ""


def allocated(first: int, stop: int) -> int:
    """The bits of an extended entry for subclusters from ``first`` on that are allocated."""
    return (1 << stop) - (1 << first) << _ALLOCATED_AT


def zeroed(first: int, stop: int) -> int:
    """The bits of an extended entry for subclusters from ``first`` on that read as zeroes."""
    return (1 << stop) - (1 << first) << _ZERO_AT


def uniform(entry: int) -> int | None:
    """The plain entry that says the same as an extended one; None if its subclusters differ."""
    word, bits = entry & WORD, entry >> 64
    if word & COMPRESSED:
        return word
    if bits in (0, _BITS, _BITS << SUBCLUSTERS):
        return subcluster(entry, 0)
    return None


def subcluster(entry: int, number: int) -> int:
    """The plain entry that says of a cluster what an extended one says of a subcluster."""
    if entry >> _ALLOCATED_AT + number & 1:
        return entry & WORD
    if entry >> _ZERO_AT + number & 1:
        return entry & (COPIED | OFFSET) | ZERO
    return entry & (COPIED | OFFSET) | EMPTY
