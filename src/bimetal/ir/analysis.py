"""What a block does, found in one walk over it: all that the code generator needs of a trace."""

from __future__ import annotations

from msgspec import Struct, field

from .access import Space
from .effects import (
    Amo,
    Cas,
    FloatOperation,
    Get,
    If,
    Jump,
    Load,
    RoutineCall,
    Set,
    Store,
    Sync,
)  # fmt: skip
from .facts import facts
from .ops import signed
from .value import Block, Value, const

__all__ = ["Analysis", "MemoryAccess", "distance", "relative"]

MemoryAccess = Load | Store | Amo | Cas


LEAST_PC_BITS = 12
"""The bits of an offset in a page: no program counter wraps around inside a page."""


def relative(target: Value) -> Value | None:
    """The distance of a jump to ``target`` from its own address; None if it is not relative to it.
    Within a page, truncating the target to the width of a program counter changes nothing."""
    while target.op == "zext" and target.args[0].op == "trunc":
        if target.args[0].width < LEAST_PC_BITS:
            return None
        target = target.args[0].args[0]
    if target.op == "pc":
        return const(0, target.width)
    if target.op == "add" and target.args[0].op == "pc":
        return target.args[1]
    return None


def distance(target: Value) -> int | None:
    """The distance of a jump to ``target`` from its own address, signed; None if not constant."""
    away = relative(target)
    return signed(int(away), away.width) if away is not None and away.known else None


class Analysis(Struct):
    """Properties of a block.

    Of the parts that fast code executes (all but cold blocks): ``frame`` says whether they need a
    stack frame, ``accesses``, ``floats`` and ``jumps`` are the operations of these kinds, and
    ``indexed`` has the files of registers whose numbers are not constant. Of the whole block:
    ``cold`` says whether there is a cold block, ``syncs`` whether mode or translation may change,
    ``stores`` whether guest memory may be written, by routines too; ``sets`` are all writes of
    registers, and ``falls`` says whether control can reach the end.
    """

    block: Block
    frame: bool = False
    cold: bool = False
    syncs: bool = False
    stores: bool = False
    falls: bool = True
    accesses: list[MemoryAccess] = field(default_factory=list)
    floats: list[FloatOperation] = field(default_factory=list)
    jumps: list[Jump] = field(default_factory=list)
    sets: list[Set] = field(default_factory=list)
    indexed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.falls = self._walk(self.block, fast=True)

    def _walk(self, block: Block, fast: bool) -> bool:
        """Analyse a block; whether control can reach its end."""
        falls = True
        for value in block:
            if isinstance(value, If):
                branches = value.branches
                self.cold = self.cold or branches.cold
                # An instruction that fast code leaves to its slow form may fall through.
                then = self._walk(branches.then, fast and not branches.cold) or branches.cold
                otherwise = self._walk(branches.otherwise, fast)
                falls = falls and (then or otherwise)
            else:
                self._note(value, fast)
                falls = falls and not facts(value).ends
        return falls

    def _note(self, value: Value, fast: bool) -> None:
        if isinstance(value, Set):
            self.sets.append(value)
        elif isinstance(value, Sync):
            self.syncs = True
        elif isinstance(value, Store | Amo | Cas | RoutineCall):
            self.stores = True
        if not fast:
            return
        self.frame = self.frame or facts(value).frame
        match value:
            case Load() | Store() | Amo() | Cas():
                self.accesses.append(value)
                # Only virtual addresses have a TLB.
                self.frame = self.frame or value.access.space is not Space.VIRTUAL
            case Get(index=index) | Set(index=index) if not index.known:
                self.indexed.add(value.file)
            case FloatOperation():
                self.floats.append(value)
            case Jump():
                self.jumps.append(value)
