"""Bit fields and alignment of plain unsigned integers."""

from __future__ import annotations

__all__ = ["align_down", "align_up", "bit", "extract", "insert", "is_aligned", "mask"]


def mask(width: int) -> int:
    """``width`` ones at the bottom."""
    return (1 << width) - 1


def bit(value: int, number: int) -> int:
    """Bit ``number`` of ``value``, 0 or 1."""
    return value >> number & 1


def extract(value: int, high: int, low: int) -> int:
    """Bits ``high`` down to ``low`` of ``value``, both included, as manuals write them."""
    return value >> low & mask(high - low + 1)


def insert(value: int, high: int, low: int, field: int) -> int:
    """``value`` with bits ``high`` down to ``low`` replaced by those of ``field``."""
    field_mask = mask(high - low + 1)
    return value & ~(field_mask << low) | (field & field_mask) << low


def is_aligned(value: int, alignment: int) -> bool:
    """Whether ``value`` is a multiple of the power of two ``alignment``."""
    return value & (alignment - 1) == 0


def align_down(value: int, alignment: int) -> int:
    """The greatest multiple of the power of two ``alignment`` that is not above ``value``."""
    return value & -alignment


def align_up(value: int, alignment: int) -> int:
    """The least multiple of the power of two ``alignment`` that is not below ``value``."""
    return (value + alignment - 1) & -alignment
