"""Traces as text, for people: one operation a line, in the order of the description."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .value import Block, Value

__all__ = ["listing"]

_SYMBOLS = {
    "add": "+", "sub": "-", "mul": "*", "and": "&", "or": "|", "xor": "^", "shl": "<<",
    "eq": "==", "ne": "!=",
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
            if value.op == "if":
                yield from self._branches(value, depth)
                continue
            what = self._operation(value, [self.operand(arg) for arg in value.args])
            if value.width or value.op == "local":
                self.numbers[value] = len(self.numbers) + 1
                width = value.width or value.args[0].width
                what = f"%{self.numbers[value]}:{width} = {what}"
            yield indent + what

    def _branches(self, value: Value, depth: int) -> Iterator[str]:
        branches: Any = value.attr
        indent = "    " * depth
        rarely = ", rarely" if branches.cold else ""
        yield f"{indent}if {self.operand(value.args[0])}{rarely}:"
        yield from self.block(branches.then, depth + 1)
        if branches.otherwise:
            yield f"{indent}else:"
            yield from self.block(branches.otherwise, depth + 1)

    def _operation(self, value: Value, args: list[str]) -> str:
        attr: Any = value.attr
        joined = ", ".join(args)
        match value.op:
            case "get":
                return f"{attr}[{args[0]}]"
            case "set":
                return f"{attr}[{args[0]}] = {args[1]}"
            case "select":
                return f"{args[1]} if {args[0]} else {args[2]}"
            case "local_get":
                return args[0]
            case "local_set":
                return f"{args[0]} := {args[1]}"
            case "call":
                return f"{attr.name}({joined})"
            case "hcall" | "leave":
                return f"{value.op} {attr}({joined})"
            case "load" | "store" | "cas":
                return f"{value.op}.{attr.width}({joined})"
            case "amo":
                return f"amo {attr[1]}.{attr[0].width}({joined})"
            case op if op in _SYMBOLS:
                return f"{args[0]} {_SYMBOLS[op]} {args[1]}"
        return f"{value.op}({joined})" if args else value.op


def listing(block: Block) -> str:
    """The trace as text. ``%3:64`` is the third value, of 64 bits."""
    return "".join(f"{line}\n" for line in _Writer().block(block, 0))
