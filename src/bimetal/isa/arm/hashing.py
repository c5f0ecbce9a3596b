"""What hash functions have in common (FIPS 180-4, sections 3.2 and 4.1)."""

from __future__ import annotations

from ...ir.value import Value, pure
from ...ir.vector import lanes

__all__ = [
    "choice", "majority", "parity", "rotated_left", "rotated_right", "small_sigma", "words_of",
]  # fmt: skip


def choice(x: Value, y: Value, z: Value) -> Value:
    """Ch: the bits of ``y`` where ``x`` has ones, those of ``z`` elsewhere."""
    return ((y ^ z) & x) ^ z


def parity(x: Value, y: Value, z: Value) -> Value:
    """Whether one or all three bits are ones."""
    return x ^ y ^ z


def majority(x: Value, y: Value, z: Value) -> Value:
    """Maj: what two of three bits are."""
    return (x & y) | ((x | y) & z)


def rotated_left(value: Value, by: int) -> Value:
    """ROTL."""
    return pure("rotl", value, by)


def rotated_right(value: Value, *by: int) -> Value:
    """The sum without carries of a word rotated right by some distances."""
    total = pure("rotr", value, by[0])
    for distance in by[1:]:
        total = total ^ pure("rotr", value, distance)
    return total


def small_sigma(lane: int, words: Value, first: int, second: int, shift: int) -> Value:
    """The small sigmas of 4.1.2 and 4.1.3, of each lane: two rotations and a shift."""
    turned = lanes("rotr", lane, words, first) ^ lanes("rotr", lane, words, second)
    return turned ^ lanes("lsr", lane, words, shift)


def words_of(*words: Value) -> Value:
    """A vector with these lanes, the lowest first."""
    lane = words[0].width
    whole = words[0].zext(128)
    for number, word in enumerate(words[1:], 1):
        whole = whole | word.zext(128) << lane * number
    return whole
