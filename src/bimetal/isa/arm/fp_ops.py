"""Floating-point operations that scalar and vector instructions share (J1.1.3)."""

from __future__ import annotations

from collections.abc import Callable

from ...ir import fp
from ...ir.value import Value
from ...ir.vector import choose, lanes
from ..trace import Cpu, slowly, when
from .fp import FLOATING, Numbers, compute, flushed

__all__ = ["ARITHMETIC", "binary", "fused", "maximum", "negated", "root"]

Binary = Callable[[Cpu, Numbers, Value, Value], Value]


def negated(numbers: Numbers, value: Value) -> Value:
    """FPNeg: the other sign, of NaNs too."""
    return value ^ numbers.each(numbers.format.sign)


def binary(operation: Callable[..., Value], tiny: bool = False) -> Binary:
    """FPAdd, FPSub, FPMul, FPDiv."""

    def combine(cpu: Cpu, numbers: Numbers, a: Value, b: Value) -> Value:
        return compute(
            cpu, numbers, lambda a, b: operation(a, b, lane=numbers.lane), a, b, tiny=tiny
        )

    return combine


def root(cpu: Cpu, numbers: Numbers, a: Value) -> Value:
    """FPSqrt."""
    return compute(cpu, numbers, lambda a: fp.sqrt(a, lane=numbers.lane), a)


def fused(cpu: Cpu, numbers: Numbers, addend: Value, a: Value, b: Value) -> Value:
    """FPMulAdd: the addend's NaN comes first, and infinity times zero is invalid beside it."""

    def nans(result: Value, given: list[Value]) -> Value:
        addend, a, b = given
        result = FLOATING.chosen(cpu, numbers, result, addend, a, b)
        lost = numbers.indefinite(a, b) & numbers.nans(addend) & ~numbers.signalling(addend)
        with when(lost != 0):
            fp.raise_flags(fp.NV)
        return choose(lost, numbers.each(numbers.format.nan), result)

    return compute(
        cpu,
        numbers,
        lambda c, a, b: fp.mul_add(a, b, c, lane=numbers.lane),
        addend,
        a,
        b,
        tiny=True,
        nans=nans,
    )


def _ordered(numbers: Numbers, value: Value) -> Value:
    """Signed integers that are ordered as the numbers are, -0 below +0."""
    ones = lanes("asr", numbers.lane, value, numbers.lane - 1)
    return value ^ (ones & numbers.each(numbers.format.sign - 1))


def maximum(least: bool, number: bool) -> Binary:
    """FPMax and FPMin, and with ``number`` FPMaxNum and FPMinNum: there a quiet NaN loses to a
    number."""

    def combine(cpu: Cpu, numbers: Numbers, a: Value, b: Value) -> Value:
        a, b = flushed(cpu, numbers, a, b)
        less = lanes("slt", numbers.lane, _ordered(numbers, a), _ordered(numbers, b))
        result = cpu.local(choose(less, a, b) if least else choose(less, b, a))
        nans = numbers.nans(a) | numbers.nans(b)
        with slowly(nans != 0):
            with when((numbers.signalling(a) | numbers.signalling(b)) != 0):
                fp.raise_flags(fp.NV)
            found = choose(nans, numbers.each(numbers.format.nan), result.value)
            found = FLOATING.chosen(cpu, numbers, found, a, b)
            if number:
                for one, other in ((a, b), (b, a)):
                    lost = numbers.nans(one) & ~numbers.signalling(one) & ~numbers.nans(other)
                    found = choose(lost, other, found)
            result.set(found)
        return result.value

    return combine


ARITHMETIC: dict[str, Binary] = {
    "fadd": binary(fp.add),
    "fsub": binary(fp.sub),
    "fmul": binary(fp.mul, tiny=True),
    "fdiv": binary(fp.div, tiny=True),
    "fmax": maximum(least=False, number=False),
    "fmin": maximum(least=True, number=False),
    "fmaxnm": maximum(least=False, number=True),
    "fminnm": maximum(least=True, number=True),
}
"""By the names of instructions."""
