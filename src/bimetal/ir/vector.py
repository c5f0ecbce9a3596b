"""Vectors: wide bit vectors seen as lanes, lane 0 in the lowest bits.

A vector is a `Value` like any other; how wide its lanes are is said by each operation. So the same
128 bits can be sixteen bytes to one operation and two doubles to the next, as registers are.
"""

from __future__ import annotations

from collections.abc import Sequence

from .ops import OPS, Result
from .value import Value, const, fail, lift, perform

__all__ = [
    "Element", "Insert", "Lanes", "Reduce", "Shuffle", "Splat", "Table", "Vector", "choose",
    "element", "insert", "join", "lanes", "reduce", "shuffle", "splat", "split", "table",
]  # fmt: skip

REDUCTIONS = ("add", "and", "or", "xor", "umin", "umax", "smin", "smax")


def split(number: int, lane: int, count: int) -> list[int]:
    """The lanes of a number, the lowest first."""
    mask = (1 << lane) - 1
    return [number >> lane * n & mask for n in range(count)]


def join(numbers: Sequence[int], lane: int) -> int:
    """The number with these lanes."""
    mask = (1 << lane) - 1
    return sum((number & mask) << lane * n for n, number in enumerate(numbers))


class Vector(Value):
    """Base of the pure operations on lanes, which are ``lane`` bits wide."""

    __slots__ = ("lane",)

    def __init__(self, op: str, lane: int, width: int, *args: Value):
        super().__init__(op, width, args)
        self.lane = lane
        for arg in (self, *args):
            if lane < 1 or (arg.width % lane and arg.width > lane):
                fail(f"lanes of {lane} bits in {arg.width}")

    @property
    def count(self) -> int:
        """How many lanes the first operand has."""
        return self.args[0].width // self.lane

    def detail(self) -> str:
        """What distinguishes it from others of its class, for people."""
        return str(self.lane)


class Lanes(Vector):
    """An operation of the table `ops`, on each lane. Comparisons give lanes of ones or zeros;
    ``to`` is the width of the result's lanes where that is another one."""

    __slots__ = ("operation", "to")

    def __init__(self, operation: str, lane: int, to: int, *args: Value):
        super().__init__("lanes", lane, args[0].width // lane * to, *args)
        self.operation, self.to = operation, to

    def detail(self) -> str:
        return f"{self.operation}.{self.lane}"


class Splat(Vector):
    """One value in every lane."""

    __slots__ = ()


class Shuffle(Vector):
    """Lanes by their numbers; the second operand's are numbered on from the first's."""

    __slots__ = ("indices",)

    def __init__(self, lane: int, indices: tuple[int, ...], *args: Value):
        super().__init__("shuffle", lane, lane * len(indices), *args)
        self.indices = indices

    def detail(self) -> str:
        return f"{self.lane} {self.indices}"


class Element(Vector):
    """One lane, by a number that may be known only when the guest runs; it must be in range."""

    __slots__ = ()


class Insert(Vector):
    """The vector with one lane replaced."""

    __slots__ = ()


class Reduce(Vector):
    """All lanes combined into one."""

    __slots__ = ("operation",)

    def __init__(self, operation: str, lane: int, arg: Value):
        super().__init__("reduce", lane, lane, arg)
        self.operation = operation

    def detail(self) -> str:
        return f"{self.operation}.{self.lane}"


class Table(Vector):
    """Bytes looked up in tables that follow one another: 0 where an index is beyond them."""

    __slots__ = ()


def lanes(operation: str, lane: int, first: Value, *others: Value | int, to: int = 0) -> Value:
    """Apply ``operation`` of the table to lanes of ``lane`` bits; a number is in every lane.

    ``to`` is for "zext", "sext" and "trunc".
    """
    rule, count = OPS[operation], first.width // lane
    if (rule.result is Result.GIVEN) != bool(to):
        fail(f"{operation} of lanes {'has no' if to else 'needs a'} width of its own")
    args = [first]
    for other in others:
        if isinstance(other, int):
            other = const(join([int(const(other, lane))] * count, lane), first.width)
        args.append(lift(other, first.width))
    return perform(Lanes(operation, lane, to or lane, *args))


def splat(value: Value, count: int) -> Value:
    """``value`` in each of ``count`` lanes."""
    return perform(Splat("splat", value.width, value.width * count, value))


def shuffle(lane: int, indices: Sequence[int], first: Value, second: Value | None = None) -> Value:
    """The lanes of ``first`` and ``second`` with these numbers."""
    second = first if second is None else lift(second, first.width)
    if any(not 0 <= n < 2 * first.width // lane for n in indices):
        fail(f"lanes {indices} of {first.width // lane}")
    return perform(Shuffle(lane, tuple(indices), first, second))


def element(vector: Value, lane: int, number: Value | int) -> Value:
    """One lane."""
    if isinstance(number, int):
        return vector[number * lane + lane - 1 : number * lane]
    return perform(Element("element", lane, lane, vector, number))


def insert(vector: Value, lane: int, number: Value | int, new: Value) -> Value:
    """``vector`` with lane ``number`` replaced by ``new``."""
    if isinstance(number, int):
        number = const(number, 32)
    return perform(Insert("insert", lane, vector.width, vector, number, lift(new, lane)))


def reduce(operation: str, lane: int, vector: Value) -> Value:
    """All lanes combined by one of `REDUCTIONS`."""
    if operation not in REDUCTIONS:
        fail(f"no reduction by {operation}")
    return perform(Reduce(operation, lane, vector))


def table(indices: Value, *tables: Value) -> Value:
    """The byte of ``tables`` (128 bits each, 4 at most) that each byte of ``indices`` names."""
    return perform(Table("table", 8, indices.width, indices, *tables))


def choose(mask: Value, a: Value, b: Value) -> Value:
    """The bits of ``a`` where ``mask`` has ones, those of ``b`` elsewhere."""
    return (mask & a) | (~mask & b)
