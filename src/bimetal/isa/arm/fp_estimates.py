"""Estimates of reciprocals and of reciprocal square roots, and the steps that refine them."""

from __future__ import annotations

from collections.abc import Callable

from ...ir import fp
from ...ir.integers import Integers
from ...ir.value import Value, select
from ...ir.vector import choose, lanes
from ..trace import Cpu, slowly, when
from .fp import FLOATING, Numbers, flushed
from .fp_access import RMODE
from .fp_ops import fused, negated

__all__ = [
    "exponent", "reciprocal", "reciprocal_root", "reciprocal_root_step", "reciprocal_step",
    "unsigned_reciprocal", "unsigned_reciprocal_root",
]  # fmt: skip


def _number(numbers: Numbers, value: int) -> Integers:
    return Integers(numbers.lane, numbers.each(value & ((1 << numbers.lane) - 1)))


def _estimated(numbers: Numbers, a: Integers, estimate: Callable[[Integers], Integers]) -> Integers:
    """An estimate, made in lanes that have room for it."""
    if numbers.lane > 16:
        return estimate(a)
    wide = estimate(Integers(32, lanes("zext", 16, a.value, to=32)))
    return Integers(16, lanes("trunc", 32, wide.value, to=16))


def _reciprocal_of(a: Integers) -> Integers:
    """RecipEstimate: of 256 to 511, that is 0.5 to 1, in the same scale."""
    doubled = (a << 1) + 1
    return (a.each(1 << 19).apply("udiv", doubled) + 1) >> 1


def _root_of(a: Integers) -> Integers:
    """RecipSqrtEstimate: of 128 to 511, that is 0.25 to 1. The number of nine bits above 512 whose
    square times the operand is still below 2 to the 28, bit by bit."""
    a = a.below(256).pick((a << 1) + 1, ((a >> 1) << 2) + 2)
    found = a.each(512)
    for bit in range(8, -1, -1):
        tried = found | 1 << bit
        found = (a * tried * tried).below(1 << 28).pick(tried, found)
    return (found + 1) >> 1


def _overflow(cpu: Cpu, numbers: Numbers, signs: Value) -> Value:
    """The result of an overflow, by the rounding mode: infinity or the largest number."""
    form, mode = numbers.format, cpu.fpcr.lsr(RMODE) & 3
    infinity, largest = numbers.each(form.infinity), numbers.each(form.infinity - 1)
    positive = select((mode == 0) | (mode == 1), infinity, largest)
    negative = select((mode == 0) | (mode == 2), infinity, largest)
    minus = lanes("asr", numbers.lane, signs, numbers.lane - 1)
    return choose(minus, negative, positive) | signs


def _equal(numbers: Numbers, value: Value, bits: int) -> Value:
    return lanes("eq", numbers.lane, value, bits)


def _raise(mask: Value, flags: int) -> None:
    with when(mask != 0):
        fp.raise_flags(flags)


def reciprocal(cpu: Cpu, numbers: Numbers, value: Value) -> Value:
    """FPRecipEstimate."""
    (value,) = flushed(cpu, numbers, value)
    form = numbers.format
    below, bias = form.precision - 1, form.maximum_exponent
    magnitude = Integers(numbers.lane, numbers.magnitudes(value))
    signs = value & numbers.each(form.sign)
    power, fraction = magnitude >> below, magnitude & (form.smallest - 1)
    near = Integers(numbers.lane, ~numbers.below(value, form.smallest >> 1))
    subnormal = power.equals(0)
    fraction = subnormal.pick(near.pick(fraction << 1, fraction << 2), fraction)
    power = subnormal.pick(near.pick(power, power - 1), power)
    estimate = _estimated(numbers, ((fraction >> (below - 8)) & 255) | 256, _reciprocal_of)
    power = _number(numbers, 2 * bias - 1) - power
    bits = (estimate & 255) << (below - 8)
    normal = (power << below) | bits
    tiny = (bits >> 1) | (1 << (below - 1))
    tinier = (bits >> 2) | (1 << (below - 2))
    minus_one = power.equals((1 << numbers.lane) - 1)
    found = power.equals(0).pick(tiny, minus_one.pick(tinier, normal))
    result = cpu.local(found.value | signs)
    too_small = numbers.below(value, form.smallest >> 2)
    special = too_small | ~numbers.below(value, form.infinity)
    with slowly(special != 0):
        zero = _equal(numbers, magnitude.value, 0)
        infinite = _equal(numbers, magnitude.value, form.infinity)
        _raise(too_small & ~zero, fp.OF | fp.NX)
        _raise(zero, fp.DZ)
        _raise(numbers.signalling(value), fp.NV)
        changed = choose(too_small, _overflow(cpu, numbers, signs), result.value)
        changed = choose(zero, signs | numbers.each(form.infinity), changed)
        changed = choose(infinite, signs, changed)
        nans = numbers.nans(value)
        result.set(choose(nans, FLOATING.chosen(cpu, numbers, value, value), changed))
    with slowly(cpu.fp_ready != 1), when((cpu.fpcr & form.flush) != 0):
        large = ~numbers.below(value, form.number(bias - 1))
        large = large & numbers.below(value, form.infinity)
        _raise(large, fp.UF)
        result.set(choose(large, signs, result.value))
    return result.value


def reciprocal_root(cpu: Cpu, numbers: Numbers, value: Value) -> Value:
    """FPRSqrtEstimate."""
    (value,) = flushed(cpu, numbers, value)
    form, lane = numbers.format, numbers.lane
    below, bias = form.precision - 1, form.maximum_exponent
    magnitude = Integers(lane, numbers.magnitudes(value))
    power, fraction = magnitude >> below, magnitude & (form.smallest - 1)
    # A subnormal number is made normal; the shift stays below the width for zero, too.
    zeros = Integers(lane, lanes("clz", lane, fraction.value | numbers.each(1))) - (lane - below)
    subnormal = power.equals(0)
    fraction = subnormal.pick((fraction << zeros) << 1, fraction)
    power = subnormal.pick(_number(numbers, 0) - zeros, power)
    scaled = ((fraction >> (below - 8)) & 255) | 256
    odd = (power & 1).equals(1)
    estimate = _estimated(numbers, odd.pick(scaled >> 1, scaled), _root_of)
    power = (_number(numbers, 3 * bias - 1) - power) >> 1
    result = cpu.local(((power << below) | ((estimate & 255) << (below - 8))).value)
    zero = _equal(numbers, magnitude.value, 0)
    negative = lanes("asr", lane, value, lane - 1) & ~zero
    with slowly((zero | negative | ~numbers.below(value, form.infinity)) != 0):
        nans = numbers.nans(value)
        invalid = negative & ~nans
        _raise(zero, fp.DZ)
        _raise(invalid | numbers.signalling(value), fp.NV)
        signs = value & numbers.each(form.sign)
        changed = choose(zero, signs | numbers.each(form.infinity), result.value)
        changed = changed & ~_equal(numbers, value, form.infinity)
        changed = choose(invalid, numbers.each(form.nan), changed)
        result.set(choose(nans, FLOATING.chosen(cpu, numbers, value, value), changed))
    return result.value


def exponent(cpu: Cpu, numbers: Numbers, value: Value) -> Value:
    """FPRecpX: the sign, and the exponent inverted."""
    (value,) = flushed(cpu, numbers, value)
    form = numbers.format
    field = form.infinity
    inverted = ~value & numbers.each(field)
    subnormal = numbers.below(value, form.smallest)
    inverted = choose(subnormal, numbers.each(field - form.smallest), inverted)
    result = cpu.local((value & numbers.each(form.sign)) | inverted)
    nans = numbers.nans(value)
    with slowly(nans != 0):
        _raise(numbers.signalling(value), fp.NV)
        result.set(choose(nans, FLOATING.chosen(cpu, numbers, value, value), result.value))
    return result.value


def _without_indefinite(numbers: Numbers, a: Value, b: Value) -> tuple[Value, Value]:
    """The factors, with zeros for infinity times zero, whose product counts as zero here."""
    infinity = numbers.format.infinity
    a_size, b_size = numbers.magnitudes(a), numbers.magnitudes(b)
    lost = (_equal(numbers, a_size, infinity) & _equal(numbers, b_size, 0)) | (
        _equal(numbers, a_size, 0) & _equal(numbers, b_size, infinity)
    )
    return a & ~lost, b & ~lost


def reciprocal_step(cpu: Cpu, numbers: Numbers, a: Value, b: Value) -> Value:
    """FPRecipStepFused: 2 - a * b."""
    a, b = flushed(cpu, numbers, a, b)
    a, b = _without_indefinite(numbers, negated(numbers, a), b)
    return fused(cpu, numbers, numbers.each(numbers.format.number(1)), a, b)


def reciprocal_root_step(cpu: Cpu, numbers: Numbers, a: Value, b: Value) -> Value:
    """FPRSqrtStepFused: (3 - a * b) / 2, rounded once. The larger factor is halved before, which is
    exact; if even that is tiny, it makes no difference."""
    a, b = flushed(cpu, numbers, a, b)
    a, b = _without_indefinite(numbers, negated(numbers, a), b)
    form, lane = numbers.format, numbers.lane
    smaller = lanes("ult", lane, numbers.magnitudes(a), numbers.magnitudes(b))

    def halved(value: Value, where: Value) -> Value:
        ordinary = numbers.below(value, form.infinity)
        ordinary = ordinary & ~numbers.below(value, form.smallest << 1)
        return lanes("sub", lane, value, where & ordinary & numbers.each(form.smallest))

    a, b = halved(a, ~smaller), halved(b, smaller)
    one_and_half = form.number(0) | form.quiet
    return fused(cpu, numbers, numbers.each(one_and_half), a, b)


def _unsigned(estimate: Callable[[Integers], Integers], least: int) -> Callable[[Value], Value]:
    def operation(value: Value) -> Value:
        # What is too small has no estimate; any other operand does for it.
        given = Integers(32, value)
        small = given.below(least)
        operand = small.pick(given | least, given)
        return (estimate(operand >> 23) << 23).value | small.value

    return operation


unsigned_reciprocal = _unsigned(_reciprocal_of, 1 << 31)
"""UnsignedRecipEstimate, of lanes of 32 bits."""
unsigned_reciprocal_root = _unsigned(_root_of, 1 << 30)
"""UnsignedRSqrtEstimate."""
