"""The alternative half format (FPCR.AHP, A1.4.2), which has no infinities and no NaNs: their
exponent encodes ordinary, larger numbers. Only conversions use it."""

from __future__ import annotations

from collections.abc import Callable

from ...ir import fp
from ...ir.value import Value
from ...ir.vector import choose, lanes
from ..trace import Cpu, when
from .fp import HALF, Numbers, flushed

__all__ = ["from_alternative", "to_alternative"]

LARGEST = HALF.sign - 1


def _wider(numbers: Numbers, mask: Value) -> Value:
    """Lanes of ones or zeros as wide as those of ``numbers``, of halves' ones."""
    return lanes("sext", 16, mask, to=numbers.lane)


def from_alternative(halves: Numbers, to: Numbers, value: Value) -> Value:
    """Halves in another format, which holds all of them: the largest are halved before."""
    large = ~halves.below(value, HALF.infinity)
    smaller = lanes("sub", 16, value, large & halves.each(HALF.smallest))
    result = fp.convert(smaller, to.lane, 16)
    return lanes("add", to.lane, result, _wider(to, large) & to.each(to.format.smallest))


def to_alternative(
    cpu: Cpu,
    source: Numbers,
    halves: Numbers,
    value: Value,
    convert: Callable[[Value], Value],
) -> Value:
    """Numbers as alternative halves. Larger ones are divided by four before, which does not change
    their rounding. Numbers that are too large become the largest one, NaNs become zeros; both are
    invalid operations."""
    (value,) = flushed(cpu, source, value)
    form, lane = source.format, source.lane
    signs = lanes("trunc", lane, lanes("lsr", lane, value, lane - 16), to=16)
    signs = signs & halves.each(HALF.sign)
    nans = source.nans(value)
    lost = nans | ~source.below(value, form.number(17))
    large = ~source.below(value, form.number(15)) & ~lost
    kept = lanes("sub", lane, value & ~lost, large & source.each(2 * form.smallest))
    before = fp.flags()
    first = fp.convert(kept, 16, lane)
    fp.set_flags(before)
    large = lanes("trunc", lane, large, to=16)
    above = large & lanes("eq", 16, halves.magnitudes(first), HALF.number(15))
    result = convert(kept & ~_wider(source, above))
    result = lanes("add", 16, result, large & halves.each(2 * HALF.smallest))
    nans, lost = (lanes("trunc", lane, mask, to=16) for mask in (nans, lost))
    lost = lost | above
    with when(lost != 0):
        fp.raise_flags(fp.NV)
    return choose(lost, signs | (halves.each(LARGEST) & ~nans), result)
