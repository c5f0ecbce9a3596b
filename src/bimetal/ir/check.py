"""Checking traces: read, compute, write, flags, in that order, so that every fault is precise.

On no path through a trace may an operation that can fault follow a write of architectural state,
for the write could not be undone; nor may a register file be read after it was written, for the
registers might be the same one. Nothing may follow a jump on its path: no executor gets there.
What is done slowly (a cold block) is left to another form of the code, which does the instruction
from its start: what was written before has to be the same when it is written again.
"""

from __future__ import annotations

from msgspec import Struct, field

from .effects import Effect, Get, If, Jump, Return, RoutineCall, Set, Trap
from .facts import facts
from .value import Block, Value

__all__ = ["check"]


class _Path(Struct):
    """What has happened on a path; ``written`` names the operation that wrote state, if any."""

    written: str = ""
    files: frozenset[str] = frozenset()
    ended: bool = False
    jumped: bool = False

    def joined(self, other: _Path) -> _Path:
        """The state where two paths join; a path that has ended does not count."""
        if self.ended or other.ended:
            return other if self.ended else self
        return _Path(self.written or other.written, self.files | other.files)


class _Checker(Struct):
    restartable: bool
    derived: frozenset[str]
    slow_first: bool = False
    problems: list[str] = field(default_factory=list)
    returns: list[_Path] = field(default_factory=list)
    active: tuple[str, ...] = ()

    def walk(self, block: Block, path: _Path) -> _Path:
        """Follow a block; the state at its end."""
        for value in block:
            if path.ended:
                if path.jumped and isinstance(value, Effect):
                    self.problems.append(f"{value.op} after the jump never happens")
                break
            path = self._step(value, path)
        return path

    def _step(self, value: Value, path: _Path) -> _Path:
        match value:
            case If(branches=branches):
                if branches.cold and path.written and self.slow_first:
                    self.problems.append(f"what is done slowly follows {path.written}")
                then, otherwise = (self.walk(block, path) for block in branches)
                return then.joined(otherwise)
            case RoutineCall(routine=routine):
                return self._call(routine.name, routine.block(), path)
            case Return():
                self.returns.append(path)
                return _Path(path.written, path.files, ended=True)
            case Jump():
                return _Path(path.written, path.files, ended=True, jumped=True)
            case Get(index=index, file=file) if not index.known and file in path.files:
                self.problems.append(f"{file} is read after a write to it")
        what = facts(value)
        if what.faults and path.written and not self.restartable:
            self.problems.append(f"{value.op} may fault after {path.written}")
        if isinstance(value, Trap):
            return _Path(path.written, path.files, ended=True)
        if isinstance(value, Set):
            if value.file in self.derived:
                return path
            return _Path(path.written or f"set {value.file}", path.files | {value.file})
        if what.writes:
            return _Path(path.written or value.op, path.files)
        return path

    def _call(self, name: str, block: Block, path: _Path) -> _Path:
        if name in self.active:
            return path  # a recursive call adds nothing to the first one
        inner = _Checker(self.restartable, self.derived, active=(*self.active, name))
        after = inner.walk(block, path)
        for returned in inner.returns:
            after = after.joined(returned)
        self.problems += [f"{name}: {problem}" for problem in inner.problems]
        return after


def check(
    block: Block,
    restartable: bool = False,
    derived: frozenset[str] = frozenset(),
    slow_first: bool = False,
) -> list[str]:
    """What is wrong with the order of a trace; empty if nothing is.

    A ``restartable`` instruction may repeat after a fault what it did before, so it may fault late.
    ``derived`` registers are functions of other state, so writing them again does no harm. With
    ``slow_first`` nothing at all may be written before what is done slowly.
    """
    checker = _Checker(restartable, derived, slow_first and not restartable)
    checker.walk(block, _Path())
    return sorted(set(checker.problems))
