"""RCPPS and RSQRTPS: estimates of reciprocals, and of those of roots, with the bits that Intel's
processors give (the manual promises an error below 1.5 * 2 ** -12). They raise nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ....ir.compound import compound
from ....ir.value import Value, const, pure, select
from ...trace import Cpu
from ..numbers import scalar_forms
from ..simd import Encoding, Form, encode_all, merged, read_source, write_parts

INFINITY, QUIET = 0xFF << 23, 1 << 22
INDEFINITE = 1 << 31 | INFINITY | QUIET


def _reciprocal(x: Value) -> Value:
    """The middle of an interval of 2 ** -11, and of its reciprocal 13 bits."""
    sign, biased, top = x & 1 << 31, x.lsr(23) & 0xFF, x.lsr(12) & 0x7FF
    divisor = (top << 1) + 4097
    quotient = pure("udiv", divisor + (1 << 26), divisor << 1)
    # The exponent is what is left to 253; below 1 nothing is left.
    normal = (const(253, 32) - biased) << 23 | (quotient & 0xFFF) << 11
    result = select(biased.ult(253), normal, const(0, 32))
    result = select(biased == 0, INFINITY, result)
    return sign | _special(x, biased, result)


def _special(x: Value, biased: Value, result: Value) -> Value:
    """The result, but NaNs quiet, and zero for infinity."""
    nan = (x & 0x7FFF_FFFF) | QUIET
    return select(biased == 0xFF, select((x << 9) == 0, const(0, 32), nan), result)


def _root_reciprocal(x: Value) -> Value:
    """The same of a root, by intervals of 2 ** -10: the largest number of 14 bits whose square is
    not above the reciprocal, rounded to 13."""
    biased, top = x.lsr(23) & 0xFF, x.lsr(13) & 0x3FF
    even = (biased & 1) == 0  # the exponent itself is odd
    middle = ((top << 1) + 2049).zext(64) << select(even, const(1, 64), 0)
    root = const(0, 64)
    for bit in range(13, -1, -1):
        tried = root | 1 << bit
        fits = pure("ule", tried * tried * middle, const(1 << 39, 64))
        root = select(fits, tried, root)
    rounded = (root + 1).lsr(1).trunc(32)
    half = (biased - 127 + select(even, const(-1, 32), 0)).asr(1)
    exponent = const(126, 32) - half
    result = exponent << 23 | (rounded & 0xFFF) << 11
    negative = select((x << 1).lsr(24) == 0, x & 1 << 31 | INFINITY, INDEFINITE)
    result = select(x[31] == 1, negative, select(biased == 0, INFINITY, result))
    is_nan = (biased == 0xFF) & ((x << 9) != 0)
    result = select((biased == 0xFF) & (x[31] == 0), 0, result)
    return select(is_nan, x | QUIET, result)


def _each(one: Callable[[Value], Value]) -> Callable[[Value], Value]:
    def meaning(part: Value) -> Value:
        total = const(0, 128)
        for n in range(4):
            total = total | one(part[32 * n + 31 : 32 * n]).zext(128) << 32 * n
        return total

    return meaning


def _estimate(name: str, opcode: str, step: str, one: Callable[[Value], Value]) -> None:
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
