"""QARMA5, the block cipher of pointer authentication (J1.1.3, ComputePAC): 64 bits of data under a
key of 128 bits and a modifier.

A block is 16 cells of four bits, cell 0 lowest; rows are four cells that stand together, so the
columns of the mixing matrix are mixed all at once by rotations of the whole block.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.value import Value, const, pure
from ..trace import Cpu
from .state import a64

__all__ = ["qarma5"]

SHUFFLE = (13, 6, 11, 0, 7, 12, 1, 10, 8, 3, 14, 5, 2, 9, 4, 15)
"""Which cell each cell becomes a copy of."""
TWEAK = (4, 5, 6, 7, 11, 2, 3, 8, 12, 13, 14, 15, 0, 1, 10, 9)
STEPPED = (6, 11, 8, 15, 0, 10, 9)
"""Cells of the tweak that are changed on the way, as a register with feedback steps."""
SUBSTITUTE = (11, 6, 8, 15, 12, 0, 9, 14, 3, 7, 4, 5, 13, 2, 1, 10)
ROUND = (
    0,
    0x13198A2E03707344,
    0xA4093822299F31D0,
    0x082EFA98EC4E6C89,
    0x452821E638D01377,
)
REFLECTED = 0xC0AC29B7C97C50DD


def _inverse(table: Sequence[int]) -> tuple[int, ...]:
    return tuple(table.index(n) for n in range(16))


def _cells(cell: int, *which: int) -> int:
    """A block with the same cell at some places."""
    return sum(cell << 4 * n for n in which)


def _shuffled(block: Value, order: Sequence[int]) -> Value:
    """The cells in another order: those that move by the same distance together."""
    result = const(0, 64)
    for distance in range(-15, 16):
        moved = [n for n in range(16) if n - order[n] == distance]
        if moved:
            amount = 4 * abs(distance)
            there = block << amount if distance > 0 else block.lsr(amount)
            result = result | there & _cells(15, *moved)
    return result


def _substituted(block: Value, table: Sequence[int]) -> Value:
    """Each cell by a table, whose entries stand in the cells of a constant."""
    entries, result = const(sum(entry << 4 * n for n, entry in enumerate(table)), 64), const(0, 64)
    for at in range(0, 64, 4):
        entry = entries.lsr((block.lsr(at) & 15) << 2) & 15
        result = result | entry << at
    return result


def _rotated(block: Value, amount: int) -> Value:
    """Every cell rotated left."""
    low = _cells(15 >> amount, *range(16))
    return (block & low) << amount | block.lsr(4 - amount) & _cells((1 << amount) - 1, *range(16))


def _mixed(block: Value) -> Value:
    """Each column by the matrix whose first row is 0, 1, 2, 1 rotations."""
    near = pure("rotr", block, 16) ^ pure("rotr", block, 48)
    return _rotated(near, 1) ^ _rotated(pure("rotr", block, 32), 2)


_CHANGED = _cells(15, *STEPPED)


def _next(tweak: Value) -> Value:
    """The tweak of the round that follows."""
    ones = _cells(1, *range(16))
    stepped = tweak.lsr(1) & _cells(7, *range(16)) | ((tweak ^ tweak.lsr(1)) & ones) << 3
    return _shuffled(tweak & ~_CHANGED | stepped & _CHANGED, TWEAK)


def _previous(tweak: Value) -> Value:
    """The tweak of the round before."""
    moved, ones = _shuffled(tweak, _inverse(TWEAK)), _cells(1, *range(16))
    back = (moved << 1) & _cells(14, *range(16)) | (moved.lsr(3) ^ moved) & ones
    return moved & ~_CHANGED | back & _CHANGED


@a64.routine(returns=64, data=64, modifier=64, low=64, high=64)
def qarma5(cpu: Cpu, data: Value, modifier: Value, low: Value, high: Value) -> Value:
    """The code of ``data``; ``low`` and ``high`` are the halves of the key."""
    inverse, back = _inverse(SUBSTITUTE), _inverse(SHUFFLE)
    whitened = high << 63 | high.lsr(2) << 1 | (high.lsr(63) ^ high.lsr(1)) & 1
    tweak, block = modifier, data ^ high
    for number, constant in enumerate(ROUND):
        block = block ^ low ^ tweak ^ constant
        if number:
            block = _mixed(_shuffled(block, SHUFFLE))
        block = _substituted(block, SUBSTITUTE)
        tweak = _next(tweak)
    block = _substituted(_mixed(_shuffled(block ^ whitened ^ tweak, SHUFFLE)), SUBSTITUTE)
    block = _mixed(_shuffled(block, SHUFFLE)) ^ low
    block = _mixed(_substituted(_shuffled(block, back), inverse))
    block = _shuffled(block, back) ^ high ^ tweak
    for number, constant in enumerate(reversed(ROUND)):
        block = _substituted(block, inverse)
        if number < len(ROUND) - 1:
            block = _shuffled(_mixed(block), back)
        tweak = _previous(tweak)
        block = block ^ low ^ tweak ^ constant ^ REFLECTED
    return block ^ whitened
