"""Brain floating point: conversion from singles, and dot products (J1.1.3: BFRound, BFDotAdd)."""

from __future__ import annotations

from ...ir import fp
from ...ir.fp import Rounding
from ...ir.value import Value, select
from ...ir.vector import choose, lanes
from ..trace import Cpu, slowly, when
from .fp import FLOATING, Numbers, flushed
from .fp_access import RMODE, set_rounding

__all__ = ["dot", "narrowed"]

NEAREST, UPWARD, DOWNWARD = 0, 1, 2
"""Of FPCR.RMode."""
DISCARDED = 16
"""Bits of a single's significand that a brain number does not have."""


def narrowed(cpu: Cpu, numbers: Numbers, value: Value) -> Value:
    """FPConvertBF. Exponents are those of singles, so a carry out of the significand correctly
    increments them, and a result is tiny if the single is."""
    (value,) = flushed(cpu, numbers, value)
    form, mode = numbers.format, cpu.fpcr.lsr(RMODE) & 3
    discarded, last = numbers.each((1 << DISCARDED) - 1), lanes("lsr", 32, value, DISCARDED)
    half = lanes("add", 32, last & numbers.each(1), (1 << (DISCARDED - 1)) - 1)
    minus = lanes("asr", 32, value, 31)
    directed = select(mode == UPWARD, ~minus & discarded, minus & discarded)
    nearest_or_zero = select(mode == NEAREST, half, 0)
    more = select((mode == UPWARD) | (mode == DOWNWARD), directed, nearest_or_zero)
    result = cpu.local(lanes("lsr", 32, lanes("add", 32, value, more), DISCARDED))
    nans, rest = numbers.nans(value), lanes("ne", 32, value & discarded, 0)
    with slowly((nans | rest) != 0):
        rest = rest & ~nans
        infinite = lanes(
            "eq",
            32,
            lanes("shl", 32, result.value, DISCARDED) & numbers.each(form.sign - 1),
            form.infinity,
        )
        for found, flags in (
            (rest, fp.NX),
            (rest & infinite, fp.OF),
            (rest & numbers.below(value, form.smallest), fp.UF),
            (numbers.signalling(value), fp.NV),
        ):
            with when(found != 0):
                fp.raise_flags(flags)
        quiet = FLOATING.default_or(cpu, numbers, value | numbers.each(form.quiet))
        result.set(choose(nans, lanes("lsr", 32, quiet, DISCARDED), result.value))
    return lanes("trunc", 32, result.value, to=16)


def _flushed(numbers: Numbers, value: Value) -> Value:
    """Numbers with zeros in place of tiny ones."""
    tiny = numbers.below(value, numbers.format.smallest)
    return value & (~tiny | numbers.each(numbers.format.sign))


def _normal(numbers: Numbers, value: Value) -> Value:
    """A result with tiny numbers replaced by zeros and NaNs by the default NaN."""
    return choose(numbers.nans(value), numbers.each(numbers.format.nan), _flushed(numbers, value))


def _in_mode(mode: Rounding, a: Value, b: Value) -> Value:
    fp.set_rounding(mode)
    return fp.add(a, b, 32)


def _sum(numbers: Numbers, a: Value, b: Value) -> Value:
    """BFAdd: rounded to odd, which is always possible, as one of the two neighbours of an inexact
    sum is odd. Sums beyond the largest number are infinity, which is found by computing half the
    sum."""
    low, high = _in_mode(Rounding.DOWN, a, b), _in_mode(Rounding.UP, a, b)
    odd = lanes("ne", 32, low & numbers.each(1), 0)
    half = numbers.each(numbers.format.number(-1))
    halves = fp.mul(a, half, 32), fp.mul(b, half, 32)
    limit = numbers.format.number(numbers.format.maximum_exponent)
    beyond = ~numbers.below(_in_mode(Rounding.TOWARD_ZERO, *halves), limit)
    result = choose(odd, low, high)
    infinite = (low & high & numbers.each(numbers.format.sign)) | numbers.each(
        numbers.format.infinity
    )
    beyond = beyond & ~numbers.nans(low)
    return _normal(numbers, choose(beyond, infinite, result))


def dot(cpu: Cpu, numbers: Numbers, addend: Value, pairs: tuple[Value, Value]) -> Value:
    """BFDotAdd: ``addend`` plus the products of the two pairs of numbers in each lane. Whatever
    FPCR says, it raises no exceptions, flushes tiny numbers to zero and returns the default NaN."""
    before = fp.flags()
    fp.set_rounding(Rounding.NEAREST_EVEN)
    products = []
    for part in (lambda pair: lanes("shl", 32, pair, DISCARDED), lambda pair: pair):
        a, b = (_flushed(numbers, part(pair) & numbers.each(0xFFFF_0000)) for pair in pairs)
        # Exact, unless it is tiny or too large.
        products.append(_normal(numbers, fp.mul(a, b, 32)))
    result = _sum(numbers, _flushed(numbers, addend), _sum(numbers, *products))
    set_rounding(cpu)
    fp.set_flags(before)
    return result
