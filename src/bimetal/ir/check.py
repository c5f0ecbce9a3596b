"""Checking traces: read, compute, write, flags, in that order, so that every fault is precise.

On no path through a trace may an operation that can fault follow a write of architectural state,
for the write could not be undone; nor may a register file be read after it was written, for the
registers might be the same one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .value import Block, Value

__all__ = ["check"]

_FAULTS = frozenset(("load", "store", "amo", "cas", "trap"))
_WRITES = frozenset(("set", "store", "amo", "cas", "fp_set_flags", "fp_raise", "fp_set_rounding"))
_RAISES_FLAGS = frozenset(
    (
        *("fadd", "fsub", "fmul", "fdiv", "fsqrt", "ffma", "fround", "fconvert", "from_signed"),
        *("from_unsigned", "to_signed", "to_unsigned", "fequal", "fless", "fless_equal"),
    )
)


@dataclass(slots=True)
class _Path:
    """What has happened on the way here; ``written`` says by which operation."""

    written: str = ""
    files: frozenset[str] = frozenset()
    ended: bool = False

    def joined(self, other: _Path) -> _Path:
        """Either of two ways; one that ended does not come here."""
        if self.ended or other.ended:
            return other if self.ended else self
        return _Path(self.written or other.written, self.files | other.files)


@dataclass(slots=True)
class _Checker:
    restartable: bool
    derived: frozenset[str]
    problems: list[str] = field(default_factory=list)
    returns: list[_Path] = field(default_factory=list)
    active: tuple[str, ...] = ()

    def walk(self, block: Block, path: _Path) -> _Path:
        """Follow a block; the state of affairs at its end."""
        for value in block:
            if path.ended:
                break
            path = self._step(value, path)
        return path

    def _step(self, value: Value, path: _Path) -> _Path:
        attr: Any = value.attr
        match value.op:
            case "if":
                return self.walk(attr.then, path).joined(self.walk(attr.otherwise, path))
            case "call":
                return self._call(attr.name, attr.block(), path)
            case "ret":
                self.returns.append(path)
                return _Path(path.written, path.files, ended=True)
            case "get" if not value.args[0].known and attr in path.files:
                self.problems.append(f"{attr} is read after a write to it")
        if value.op in _FAULTS:
            if path.written and not self.restartable:
                self.problems.append(f"{value.op} may fault after {path.written}")
            if value.op == "trap":
                return _Path(path.written, path.files, ended=True)
        harmless = value.op == "set" and attr in self.derived
        if (value.op in _WRITES or value.op in _RAISES_FLAGS) and not harmless:
            name = f"{value.op} {attr}" if value.op == "set" else value.op
            files = path.files | {attr} if value.op == "set" else path.files
            return _Path(path.written or name, files)
        return path

    def _call(self, name: str, block: Block, path: _Path) -> _Path:
        if name in self.active:
            return path  # its first call says it all
        inner = _Checker(self.restartable, self.derived, active=(*self.active, name))
        after = inner.walk(block, path)
        for returned in inner.returns:
            after = after.joined(returned)
        self.problems += [f"{name}: {problem}" for problem in inner.problems]
        return after


def check(
    block: Block, restartable: bool = False, derived: frozenset[str] = frozenset()
) -> list[str]:
    """What is wrong with the order of a trace; empty if nothing is.

    What a ``restartable`` instruction did before a fault may be done again, so it may fault late.
    ``derived`` registers follow from other state, so that it is no harm to renew one of them.
    """
    checker = _Checker(restartable, derived)
    checker.walk(block, _Path())
    return sorted(set(checker.problems))
