"""Compound operations: single instructions of some hosts, defined by simpler operations.

A round of a cipher is many operations of the table, or a single one that a host may know by name.
So its meaning is a block, which the reference evaluates and every host can execute; a host that
knows the name uses its own instruction (`codegen.host`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from msgspec import Struct

from .value import Block, Value, perform, tracing

__all__ = ["Compound", "Definition", "compound"]


class Definition(Struct, frozen=True):
    """What a compound operation means: pure operations that make ``result`` of parameters."""

    name: str
    parameters: tuple[Value, ...]
    block: Block
    result: Value


class Compound(Value):
    """A compound operation applied to operands."""

    __slots__ = ("definition",)

    def __init__(self, definition: Definition, *operands: Value):
        super().__init__("compound", definition.result.width, operands)
        self.definition = definition

    def detail(self) -> str:
        """What distinguishes it from others of its class, for people."""
        return self.definition.name


@cache
def _define(name: str, meaning: Callable[..., Value], widths: tuple[int, ...]) -> Definition:
    block = Block()
    with tracing(block):
        parameters = tuple(Value("parameter", width) for width in widths)
        return Definition(name, parameters, block, meaning(*parameters))


def compound(name: str, meaning: Callable[..., Value], *operands: Value) -> Value:
    """Apply the operation ``name``, whose meaning is a function of values."""
    definition = _define(name, meaning, tuple(operand.width for operand in operands))
    return perform(Compound(definition, *operands))
