"""Steps of AES' rounds (FIPS 197, sections 5.1 and 5.3), which several instruction sets have."""

from __future__ import annotations

from functools import cache

from ..ir.value import Value
from ..ir.vector import lanes, shuffle
from .substitution import affine, inverses, substituted

__all__ = ["POLYNOMIAL", "decrypt", "encrypt", "mix", "unmix"]

POLYNOMIAL = 0x11B
"""The polynomial of the field GF(2^8) that the bytes are elements of."""


@cache
def _substitutes() -> list[int]:
    """SubBytes (5.1.1): the inverse, and an affine map."""
    return [affine(number, 0x1F, 0x63) for number in inverses(POLYNOMIAL)]


def _originals() -> list[int]:
    return [_substitutes().index(number) for number in range(256)]


# Where each byte comes from: row r of the four columns is rotated by r (5.1.2, 5.3.1).
SHIFTED = [(n + 4 * (n % 4)) % 16 for n in range(16)]
UNSHIFTED = [SHIFTED.index(n) for n in range(16)]


def encrypt(state: Value) -> Value:
    """ShiftRows and SubBytes."""
    return substituted(shuffle(8, SHIFTED, state), _substitutes())


def decrypt(state: Value) -> Value:
    """InvShiftRows and InvSubBytes."""
    return substituted(shuffle(8, UNSHIFTED, state), _originals())


def _doubled(a: Value) -> Value:
    """Each byte times x in the field."""
    carried = lanes("slt", 8, a, 0)
    return lanes("shl", 8, a, 1) ^ lanes("and", 8, carried, POLYNOMIAL & 0xFF)


def _turned(a: Value, by: int) -> Value:
    """The rows of each column, each in the place of the one ``by`` above it."""
    return shuffle(8, [n - n % 4 + (n + by) % 4 for n in range(16)], a)


def mix(a: Value) -> Value:
    """MixColumns (5.1.3): 2, 3, 1 and 1 times the rows from each one on."""
    return _doubled(a ^ _turned(a, 1)) ^ _turned(a, 1) ^ _turned(a, 2) ^ _turned(a, 3)


def unmix(a: Value) -> Value:
    """InvMixColumns (5.3.3): 14, 11, 13 and 9 are 2, 3, 1 and 1 times 5, 0, 4 and 0."""
    return mix(a ^ _doubled(_doubled(a ^ _turned(a, 2))))
