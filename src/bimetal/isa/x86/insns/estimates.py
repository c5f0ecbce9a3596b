"""RCPPS and RSQRTPS: estimates of reciprocals, and of those of roots, with the bits that Intel's
processors give (the manual promises an error below 1.5 * 2 ** -12). They raise nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ....ir.compound import compound
from ....ir.integers import Integers
from ....ir.value import Value
from ...trace import Cpu
from ..numbers import scalar_forms
from ..simd import Encoding, Form, encode_all, merged, read_source, write_parts

SIGN, INFINITY, QUIET = 1 << 31, 0xFF << 23, 1 << 22
INDEFINITE = SIGN | INFINITY | QUIET


def _reciprocal(x: Integers) -> Integers:
    """The middle of an interval of 2 ** -11, and of its reciprocal 13 bits."""
    biased = x >> 23 & 0xFF
    divisor = ((x >> 12 & 0x7FF) << 1) + 4097
    quotient = (divisor + (1 << 26)).apply("udiv", divisor << 1)
    # The exponent is what is left to 253; below 1 nothing is left.
    normal = (x.each(253) - biased) << 23 | (quotient & 0xFFF) << 11
    result = biased.below(253).pick(normal, x.each(0))
    result = biased.equals(0).pick(x.each(INFINITY), result)
    return x & SIGN | _unless_nan(x, result)


def _unless_nan(x: Integers, result: Integers) -> Integers:
    """A result of numbers, or a NaN's payload, quiet."""
    return (x & ~SIGN).below(INFINITY + 1).pick(result, x & ~SIGN | QUIET)


def _root(middle: Integers, upper: Integers) -> Integers:
    """The largest number whose square times ``middle``, which is 2049 to 8190, is not above
    2 ** 39. A line, another one for the ``upper`` octave, is off by a 40th at most; two of Newton's
    steps from there are off by less than one. Until then numbers are in quarters."""
    near = upper.pick(
        middle.each(58604) - (middle * 831 >> 8), middle.each(82884) - (middle * 2351 >> 8)
    )
    for _ in range(2):
        missing = middle.each(1 << 29) - (near * near >> 14) * middle
        near = near + (near * missing.apply("asr", 10)).apply("asr", 20)
    below = near - 2 >> 2
    above = below + 1
    # That its square is off by less than 2 ** 31 shows in 32 bits whether it is above.
    too_large = (middle.each(0) - above * above * middle).apply("asr", 31)
    return too_large.pick(below, above)


def _root_reciprocal(x: Integers) -> Integers:
    """The same of a root, by intervals of 2 ** -10: the largest number of 14 bits whose square is
    not above the reciprocal, rounded to 13."""
    biased = x >> 23 & 0xFF
    even = (biased & 1).equals(0)  # the exponent itself is odd
    middle = ((x >> 13 & 0x3FF) << 1) + 2049
    middle = even.pick(middle << 1, middle)
    rounded = _root(middle, even) + 1 >> 1
    # Half of the exponent, rounded down, below that of 1.
    exponent = x.each(126 + 64) - (biased + 1 >> 1)
    result = exponent << 23 | (rounded & 0xFFF) << 11
    result = biased.equals(0).pick(x.each(INFINITY), result)
    result = biased.equals(0xFF).pick(x.each(0), result)
    negative = biased.equals(0).pick(x & SIGN | INFINITY, x.each(INDEFINITE))
    result = x.below(SIGN).pick(result, negative)
    return x & SIGN | _unless_nan(x, result)


def _each(one: Callable[[Integers], Integers]) -> Callable[[Value], Value]:
    return lambda part: one(Integers(32, part)).value


def _estimate(name: str, opcode: str, step: str, one: Callable[[Integers], Integers]) -> None:
    every = _each(one)

    def packed(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
        form.ready(cpu)
        parts = [compound(step, every, part) for part in read_source(cpu, fields, form)]
        write_parts(cpu, fields["reg"], parts, form)

    def scalar(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
        form.ready(cpu)
        (source,) = read_source(cpu, fields, form, 32)
        result = compound(step, every, source.zext(128)).trunc(32)
        write_parts(cpu, fields["reg"], [merged(cpu.xmm[form.first(fields)], result)], form)

    encode_all(
        Encoding(f"{name}ps", "np", f"0f {opcode} /r", third=False), packed,
        sse="sse", avx="avx", avx2="avx",
    )  # fmt: skip
    scalar_forms(f"{name}ss", "f3", f"0f {opcode} /r", "Vdq Wd", scalar, "sse")


_estimate("rsqrt", "52", "root_reciprocal_estimate", _root_reciprocal)
_estimate("rcp", "53", "reciprocal_estimate", _reciprocal)
