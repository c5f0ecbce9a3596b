"""Dead writes of registers: those that are overwritten before anything can read them.

Flags, which every operation writes and few instructions read, would otherwise cost as much as the
operation itself. In straight code a write is dead if the register is written again with no read and
no exit in between: wherever a region may be left, for a TLB miss or a rare case, all registers must
be right.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.effects import Get, If, Jump, Set
from ..ir.facts import facts
from ..ir.value import Block

__all__ = ["dead_sets"]

Register = tuple[str, int]


def dead_sets(blocks: Sequence[Block]) -> set[Set]:
    """The dead writes in the blocks of consecutive instructions."""
    found: set[Set] = set()
    unseen: frozenset[Register] = frozenset()
    for block in reversed(blocks):
        unseen = _before(block, unseen, found)
    return found


def _before(block: Block, unseen: frozenset[Register], found: set[Set]) -> frozenset[Register]:
    """The registers whose content does not matter before a block, given those (``unseen``) after
    it. Writes found dead are added to ``found``."""
    for value in reversed(block):
        match value:
            case If(branches=branches) if branches.cold:
                # A region leaves there: what the cold block writes, by any number, is not its own.
                _before(branches.otherwise, unseen, found)
                unseen = frozenset()
            case If(branches=branches):
                then, otherwise = (_before(way, unseen, found) for way in branches)
                unseen = then & otherwise
            case Set(file=file, index=index) if index.known:
                register = (file, int(index))
                if register in unseen:
                    found.add(value)
                unseen |= {register}
            case Get(file=file, index=index) if index.known:
                unseen -= {(file, int(index))}
            case Get(file=file):
                unseen = frozenset(each for each in unseen if each[0] != file)
            case Jump():
                unseen = frozenset()
            case _ if facts(value).faults or facts(value).frame:
                unseen = frozenset()
    return unseen
