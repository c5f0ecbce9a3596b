"""Substitution boxes of ciphers: bytes as numbers of the field with 256, and tables of them."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.value import Value, const
from ..ir.vector import join, lanes, table

__all__ = ["affine", "inverses", "substituted"]


def _product(a: int, b: int, polynomial: int) -> int:
    total = 0
    for bit in range(8):
        total ^= (a << bit) * (b >> bit & 1)
    for bit in range(14, 7, -1):
        total ^= (polynomial << bit - 8) * (total >> bit & 1)
    return total


def inverses(polynomial: int) -> list[int]:
    """The inverse of each number in the field of an irreducible ``polynomial``; of 0, it is 0."""
    for generator in range(2, 256):
        powers = [1]
        while (power := _product(powers[-1], generator, polynomial)) != 1:
            powers.append(power)
        if len(powers) == 255:
            found = dict(zip(powers, reversed([*powers[1:], 1]), strict=True))
            return [found.get(number, 0) for number in range(256)]
    raise ValueError(f"{polynomial:#x} is not irreducible")


def affine(number: int, row: int, constant: int) -> int:
    """The sum of ``row``, turned to the left by the place of each bit of a number, and a
    constant."""
    total = constant
    for bit in range(8):
        total ^= ((row << bit | row >> 8 - bit) & 0xFF) * (number >> bit & 1)
    return total


def substituted(indices: Value, numbers: Sequence[int]) -> Value:
    """The byte of a table of 256 that each byte names."""
    found = const(0, indices.width)
    for first in range(0, 256, 64):
        tables = (join(numbers[at : at + 16], 8) for at in range(first, first + 64, 16))
        at = lanes("sub", 8, indices, first)
        found = found | table(at, *(const(number, 128) for number in tables))
    return found
