"""Lowering of vector operations: a wide integer is cast to an LLVM vector, and the result back.

Compound operations use the host's own instructions where it has them.
"""

from __future__ import annotations

from abc import abstractmethod

from ..ir.compound import Compound
from ..ir.extended import Extended
from ..ir.ops import OPS, Result
from ..ir.value import Block, Value
from ..ir.vector import Element, Insert, Lanes, Reduce, Shuffle, Splat, Table, Vector
from . import host
from .x87 import ExtendedLowering

__all__ = ["WHOLE", "VectorLowering", "vector_type"]

WHOLE = Vector | Compound | Extended
"""Pure operations that are no single ones of the table `ops`."""


def _bytes(number: int) -> str:
    """The LLVM constant of sixteen equal bytes."""
    return f"<{', '.join([f'i8 {number}'] * 16)}>"


def vector_type(lane: int, width: int) -> str:
    """The LLVM type for ``width`` bits in lanes of ``lane`` bits."""
    return f"<{width // lane} x i{lane}>"


class VectorLowering(ExtendedLowering):
    """Lowers the operations of `ir.vector` and `ir.compound`."""

    @abstractmethod
    def block(self, block: Block) -> None:
        """Lower the operations of a block."""

    def as_lanes(self, value: Value, lane: int) -> str:
        """A value's lanes, as an LLVM vector."""
        kind = vector_type(lane, value.width)
        return self.let(f"bitcast i{value.width} {self.operand(value)} to {kind}")

    def from_lanes(self, value: Value, name: str, kind: str) -> None:
        """Record an LLVM vector of type ``kind`` as the result of an operation."""
        self.names[value] = self.let(f"bitcast {kind} {name} to i{value.width}")

    def op_lanes(self, value: Lanes) -> None:
        rule = OPS[value.operation]
        operands = {
            name: self.as_lanes(arg, value.lane)
            for name, arg in zip("abc", value.args, strict=False)
        }
        kind = vector_type(value.lane, value.args[0].width)
        result = vector_type(value.to, value.width)
        bits = f"<{value.count} x i1>"
        name = self.let(
            rule.llvm.format(
                t=kind,
                r=bits if rule.result is Result.BIT else result,
                s=f"v{value.count}i{value.lane}",
                **dict(operands),
            )
        )
        if rule.result is Result.BIT:
            name = self.let(f"sext {bits} {name} to {result}")
        self.from_lanes(value, name, result)

    def op_splat(self, value: Splat) -> None:
        (one,) = value.args
        kind, count = vector_type(one.width, value.width), value.width // one.width
        first = self.let(f"insertelement {kind} poison, i{one.width} {self.operand(one)}, i32 0")
        every = f"<{count} x i32> zeroinitializer"
        name = self.let(f"shufflevector {kind} {first}, {kind} poison, {every}")
        self.from_lanes(value, name, kind)

    def op_shuffle(self, value: Shuffle) -> None:
        first, second = value.args
        kind = vector_type(value.lane, first.width)
        a, b = self.as_lanes(first, value.lane), self.as_lanes(second, value.lane)
        indices = ", ".join(f"i32 {n}" for n in value.indices)
        name = self.let(
            f"shufflevector {kind} {a}, {kind} {b}, <{len(value.indices)} x i32> <{indices}>"
        )
        self.from_lanes(value, name, vector_type(value.lane, value.width))

    def op_element(self, value: Element) -> None:
        vector, number = value.args
        kind = vector_type(value.lane, vector.width)
        self.names[value] = self.let(
            f"extractelement {kind} {self.as_lanes(vector, value.lane)}, "
            f"i{number.width} {self.operand(number)}"
        )

    def op_insert(self, value: Insert) -> None:
        vector, number, new = value.args
        kind = vector_type(value.lane, vector.width)
        name = self.let(
            f"insertelement {kind} {self.as_lanes(vector, value.lane)}, "
            f"i{value.lane} {self.operand(new)}, i{number.width} {self.operand(number)}"
        )
        self.from_lanes(value, name, kind)

    def op_reduce(self, value: Reduce) -> None:
        vector = value.args[0]
        kind, suffix = vector_type(value.lane, vector.width), f"v{value.count}i{value.lane}"
        self.names[value] = self.let(
            f"call i{value.lane} @llvm.vector.reduce.{value.operation}.{suffix}"
            f"({kind} {self.as_lanes(vector, value.lane)})"
        )

    def op_table(self, value: Table) -> None:
        indices, *tables = value.args
        wide = self._sixteen(indices)
        result = "zeroinitializer"
        for number, table in enumerate(tables):
            # Indices below this part of the table wrap around, so they are beyond its end too.
            at = self.let(f"sub <16 x i8> {wide}, {_bytes(16 * number)}") if number else wide
            # The host's instruction gives 0 if bit 7 is set, as it is now in all indices above 15.
            at = self.let(
                f"call <16 x i8> @llvm.uadd.sat.v16i8(<16 x i8> {at}, <16 x i8> {_bytes(0x70)})"
            )
            found = self.let(host.current().byte_table.format(self.as_lanes(table, 8), at))
            result = self.let(f"or <16 x i8> {result}, {found}") if number else found
        whole = self.let(f"bitcast <16 x i8> {result} to i128")
        self.names[value] = self.narrow(whole, "i128", value.width)

    def _sixteen(self, indices: Value) -> str:
        """Indices padded to sixteen with ones that are beyond every table."""
        name = self.operand(indices)
        if indices.width < 128:
            wide = self.let(f"zext i{indices.width} {name} to i128")
            ones = (1 << 128) - (1 << indices.width)
            name = self.let(f"or i128 {wide}, {ones - (1 << 128)}")
        return self.let(f"bitcast i128 {name} to <16 x i8>")

    def op_compound(self, value: Compound) -> None:
        definition = value.definition
        operands = [self.operand(arg) for arg in value.args]
        lines = host.current().compound(definition.name)
        for line in lines:
            operands.append(self.let(line.format(*operands)))
        if not lines:
            self.names.update(zip(definition.parameters, operands, strict=True))
            self.block(definition.block)
            operands.append(self.operand(definition.result))
        self.names[value] = operands[-1]
