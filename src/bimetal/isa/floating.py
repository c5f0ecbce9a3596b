"""Where manuals differ in what IEEE 754 leaves open: the `FloatPolicy` of an instruction set.

`ir.fp` computes as every host does: exact flags, tininess after rounding, and a NaN as the host
happens to choose it. `FloatPolicy.compute` does what an instruction set has beyond that, in code
that is executed only where it shows. So it is part of each trace, and the reference, the
interpreter and regions cannot have it differently.

One meaning serves scalars and vectors: a scalar is a vector of one lane.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from msgspec import Struct

from ..ir import fp
from ..ir.fp import Rounding
from ..ir.softfloat import Format
from ..ir.value import Value, const, select
from ..ir.vector import choose, join, lanes
from .state import RegisterStore
from .trace import Cpu, slowly, when

__all__ = ["FloatPolicy", "NanRule", "Numbers", "Operation", "Tininess", "rounded"]

Operation = Callable[..., Value]
"""An operation of `ir.fp`, of operands to a result."""


class NanRule(Enum):
    """Which NaN is the result of an operation that has NaNs among its operands."""

    DEFAULT = "default"
    """The default NaN, whatever the operands are."""

    FIRST = "first"
    """The first operand that is a NaN, made quiet."""

    SIGNALLING_FIRST = "signalling first"
    """The first operand that is a signalling one, made quiet; else the first that is a NaN."""


class Tininess(Enum):
    """When an inexact result counts as tiny, and so as an underflow (IEEE 754, 7.5)."""

    AFTER_ROUNDING = "after rounding"
    """If it is below the smallest normal number when rounded as if exponents had no bounds."""

    BEFORE_ROUNDING = "before rounding"
    """If the exact result is below the smallest normal number."""


class Numbers(Struct, frozen=True):
    """``width`` bits of numbers of a format: one, or a vector of them."""

    format: Format
    width: int

    @property
    def lane(self) -> int:
        """Bits of one number."""
        return self.format.width

    @property
    def count(self) -> int:
        """How many numbers there are."""
        return self.width // self.lane

    def each(self, number: int) -> Value:
        """The same bits in every lane."""
        return const(join([number] * self.count, self.lane), self.width)

    def magnitudes(self, value: Value) -> Value:
        """All but the signs."""
        return value & self.each(self.format.sign - 1)

    def nans(self, value: Value) -> Value:
        """Lanes of ones where there is a NaN; raises nothing."""
        return lanes("ult", self.lane, self.each(self.format.infinity), self.magnitudes(value))

    def signalling(self, value: Value) -> Value:
        """Lanes of ones where there is a signalling NaN."""
        quiet = self.each(self.format.quiet)
        return self.nans(value) & lanes("eq", self.lane, value & quiet, 0)

    def below(self, value: Value, limit: int) -> Value:
        """Lanes of ones where the magnitude is below that of ``limit``."""
        return lanes("ult", self.lane, self.magnitudes(value), limit)

    def any_nan(self, value: Value) -> Value:
        """Whether there is a NaN, one bit; a signalling one is invalid."""
        return self._any(fp.unordered, value, value)

    def any_nan_or(self, value: Value, number: int) -> Value:
        """The same, or a number whose magnitude is that of ``number``: hosts compare for either at
        once."""
        return self._any(fp.equal_or_unordered, self.magnitudes(value), self.each(number))

    def _any(self, comparison: Operation, a: Value, b: Value) -> Value:
        if self.count == 1:
            return comparison(a, b)
        found: Value = comparison(a, b, self.lane) != 0
        return found

    def indefinite(self, a: Value, b: Value) -> Value:
        """Lanes of ones where one factor is an infinity and the other a zero."""

        def is_(value: Value, bits: int) -> Value:
            return lanes("eq", self.lane, self.magnitudes(value), bits)

        infinity = self.format.infinity
        return (is_(a, infinity) & is_(b, 0)) | (is_(a, 0) & is_(b, infinity))


def rounded(numbers: Numbers, value: Value, how: str) -> Value:
    """Integral numbers, rounded by one of `ir.fp.ROUNDINGS`, or "away": to nearest, ties away from
    zero. Never raises NX."""
    return _away(numbers, value) if how == "away" else fp.rounded(value, how, numbers.lane)


def _away(numbers: Numbers, value: Value) -> Value:
    """To nearest, ties away from zero, which no host does: the truncated number and one more if
    the rest is a half. All steps are exact; numbers without a rest take no part in them."""
    form, lane = numbers.format, numbers.lane
    small = numbers.below(value, form.number(form.precision - 1))
    safe = value & small
    truncated = fp.rounded(safe, "zero", lane)
    rest = fp.sub(safe, truncated, lane)
    one = (value & numbers.each(form.sign)) | numbers.each(form.number(0))
    one = one & ~numbers.below(rest, form.number(-1))
    nearest = fp.add(truncated, one, lane)
    signed = numbers.magnitudes(nearest) | (value & numbers.each(form.sign))
    return choose(small, signed, value)


class FloatPolicy(Struct, frozen=True):
    """The floating point of an instruction set.

    ``rounding`` is the current mode of a vCPU by its number in `ir.fp.Rounding`; ``set_rounding``
    makes it the one in which `ir.fp` computes. The default NaN is a negative number's with
    ``negative_default``; ``wants_default`` is a bit that asks for it as `NanRule.DEFAULT` does.
    With ``notes_subnormal`` there is a sixth flag, `fp.DE`.

    Flushing tiny operands and results to zero is `fp.set_flushing` where it is done as x86 does
    it; elsewhere the instruction set does it around `compute`.
    """

    rounding: Callable[[RegisterStore], int]
    set_rounding: Callable[[Cpu], None]
    nans: NanRule
    tininess: Tininess
    negative_default: bool = False
    wants_default: Callable[[Cpu], Value] | None = None
    notes_subnormal: bool = False

    def default(self, form: Format) -> int:
        """The bits of the default NaN."""
        return form.nan | (form.sign if self.negative_default else 0)

    def default_or(self, cpu: Cpu, numbers: Numbers, value: Value) -> Value:
        """``value``, or the default NaN where that is asked for."""
        if self.wants_default is None:
            return value
        return select(self.wants_default(cpu), numbers.each(self.default(numbers.format)), value)

    def chosen(self, cpu: Cpu, numbers: Numbers, result: Value, *operands: Value) -> Value:
        """``result`` with the NaNs in it that the operands, in their order, give."""
        found = numbers.each(self.default(numbers.format))
        quiet = numbers.each(numbers.format.quiet)
        kinds = {
            NanRule.DEFAULT: (),
            NanRule.FIRST: (numbers.nans,),
            NanRule.SIGNALLING_FIRST: (numbers.nans, numbers.signalling),
        }[self.nans]
        for kind in kinds:
            for operand in reversed(operands):
                found = choose(kind(operand), operand | quiet, found)
        return choose(numbers.nans(result), self.default_or(cpu, numbers, found), result)

    def in_mode(self, cpu: Cpu, mode: Rounding, operate: Operation, operands: list[Value]) -> Value:
        """The result in another rounding mode; its flags are added."""
        fp.set_rounding(mode)
        result = operate(*operands)
        self.set_rounding(cpu)
        return result

    def unusual(self, to: Numbers, result: Value, tiny: bool) -> Value:
        """Whether there is anything in a result that `note_tiny` or `chosen` may be needed for."""
        if tiny and self.tininess is Tininess.BEFORE_ROUNDING:
            return to.any_nan_or(result, to.format.smallest)
        return to.any_nan(result)

    def note_tiny(
        self, cpu: Cpu, to: Numbers, operate: Operation, operands: list[Value], result: Value
    ) -> None:
        """Raise underflow for what is tiny but was rounded to the smallest normal number: a result
        that is cut off there instead is below it."""
        smallest = lanes("eq", to.lane, to.magnitudes(result), to.format.smallest)
        with when(smallest != 0):
            self.in_mode(cpu, Rounding.TOWARD_ZERO, operate, operands)

    def compute(
        self,
        cpu: Cpu,
        numbers: Numbers,
        operate: Operation,
        *operands: Value,
        tiny: bool = False,
        order: tuple[int, ...] = (),
    ) -> Value:
        """An operation on numbers. ``tiny`` says that a result may be rounded up to the smallest
        normal number, ``order`` in which order NaNs of operands are looked for, if not theirs."""
        result = cpu.local(operate(*operands))
        first = result.value
        looked_at = [operands[n] for n in order] or list(operands)
        with slowly(self.unusual(numbers, first, tiny)):
            if tiny and self.tininess is Tininess.BEFORE_ROUNDING:
                self.note_tiny(cpu, numbers, operate, list(operands), first)
            result.set(self.chosen(cpu, numbers, first, *looked_at))
        return result.value
