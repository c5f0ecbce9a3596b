"""Lanes of integers as numbers of Python's: arithmetic on all of them is as short as on one."""

from __future__ import annotations

from .value import Value, const
from .vector import choose, join, lanes

__all__ = ["Integers"]


class Integers:
    """A vector of integers, ``lane`` bits each. An integer that stands for an operand is in every
    lane; comparisons give lanes of ones or zeros."""

    def __init__(self, lane: int, value: Value):
        self.lane, self.value = lane, value

    def each(self, number: int) -> Integers:
        """As many lanes, with a number in each."""
        count = self.value.width // self.lane
        return Integers(self.lane, const(join([number] * count, self.lane), self.value.width))

    def apply(self, operation: str, other: Integers | int) -> Integers:
        """An operation of the table."""
        operand = other.value if isinstance(other, Integers) else other
        return Integers(self.lane, lanes(operation, self.lane, self.value, operand))

    def __add__(self, other: Integers | int) -> Integers:
        return self.apply("add", other)

    def __sub__(self, other: Integers | int) -> Integers:
        return self.apply("sub", other)

    def __mul__(self, other: Integers | int) -> Integers:
        return self.apply("mul", other)

    def __and__(self, other: Integers | int) -> Integers:
        return self.apply("and", other)

    def __or__(self, other: Integers | int) -> Integers:
        return self.apply("or", other)

    def __lshift__(self, other: Integers | int) -> Integers:
        return self.apply("shl", other)

    def __rshift__(self, other: int) -> Integers:
        """Without regard to the sign."""
        return self.apply("lsr", other)

    def equals(self, other: int) -> Integers:
        """Where it is this number."""
        return self.apply("eq", other)

    def below(self, other: int) -> Integers:
        """Where it is less, unsigned."""
        return self.apply("ult", other)

    def pick(self, a: Integers, b: Integers) -> Integers:
        """``a`` where there are ones here, else ``b``."""
        return Integers(self.lane, choose(self.value, a.value, b.value))
