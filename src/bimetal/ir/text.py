"""Traces as text, for people: one operation a line, in the order of the description."""

from __future__ import annotations

from collections.abc import Iterator

from .compound import Compound
from .effects import Amo, Effect, Get, If, Local, LocalGet, LocalSet, Set
from .extended import Extended
from .value import Block, Value
from .vector import Vector

__all__ = ["listing"]

_SYMBOLS = {
    "add": "+", "sub": "-", "mul": "*", "and": "&", "or": "|", "xor": "^", "shl": "<<",
    "eq": "==", "ne": "!=",
}  # fmt: skip

_ACCESS = "{op}.{detail}({args})"
_DETAILED = {
    "call": "{detail}({args})", "load": _ACCESS, "store": _ACCESS, "cas": _ACCESS,
}  # fmt: skip


class _Writer:
    """Numbers the values of one trace as they come."""

    def __init__(self) -> None:
        self.numbers: dict[Value, int] = {}

    def operand(self, value: Value) -> str:
        """A constant, a field's name, or the number of an earlier value."""
        if value.op == "const":
            number = int(value)
            return str(number) if number < 10 else hex(number)
        return str(value.attr) if value.op == "field" else f"%{self.numbers[value]}"

    def block(self, block: Block, depth: int) -> Iterator[str]:
        """The lines of a block."""
        indent = "    " * depth
        for value in block:
            if isinstance(value, If):
                yield from self._branches(value, depth)
                continue
            what = self._operation(value, [self.operand(arg) for arg in value.args])
            if value.width or isinstance(value, Local):
                self.numbers[value] = len(self.numbers) + 1
                width = value.width or value.args[0].width
                what = f"%{self.numbers[value]}:{width} = {what}"
            yield indent + what

    def _branches(self, value: If, depth: int) -> Iterator[str]:
        branches = value.branches
        indent = "    " * depth
        rarely = ", rarely" if branches.cold else ""
        yield f"{indent}if {self.operand(value.args[0])}{rarely}:"
        yield from self.block(branches.then, depth + 1)
        if branches.otherwise:
            yield f"{indent}else:"
            yield from self.block(branches.otherwise, depth + 1)

    def _operation(self, value: Value, args: list[str]) -> str:
        joined = ", ".join(args)
        match value:
            case Get(file=file):
                return f"{file}[{args[0]}]"
            case Set(file=file):
                return f"{file}[{args[0]}] = {args[1]}"
            case LocalGet():
                return args[0]
            case LocalSet():
                return f"{args[0]} := {args[1]}"
            case Amo(operation=operation, access=access):
                return f"amo {operation}.{access}({joined})"
            case Effect() | Vector() | Compound() | Extended() if detail := value.detail():
                return _DETAILED.get(value.op, "{op} {detail}({args})").format(
                    op=value.op, detail=detail, args=joined
                )
        if value.op == "select":
            return f"{args[1]} if {args[0]} else {args[2]}"
        if value.op in _SYMBOLS:
            return f"{args[0]} {_SYMBOLS[value.op]} {args[1]}"
        return f"{value.op}({joined})" if args else value.op


def listing(block: Block) -> str:
    """The trace as text. ``%3:64`` is the third value, of 64 bits."""
    return "".join(f"{line}\n" for line in _Writer().block(block, 0))
