"""Conversions of numbers (J1.1.3): to integral ones, to and from integers, between formats."""

from __future__ import annotations

from ...ir import fp
from ...ir.value import Value, const, select
from ...ir.vector import choose, lanes, splat
from ..floating import Operation, rounded
from ..trace import Cpu, slowly
from .alternative_half import from_alternative, to_alternative
from .fp import DOUBLE, FLOATING, HALF, SINGLE, Numbers, compute, flushed
from .fp_access import AHP, need_fp, set_rounding

__all__ = [
    "MODES", "convert", "convert_to_odd", "from_integer", "integral", "integral_of_size",
    "to_integer",
]  # fmt: skip

MODES = {"n": "even", "p": "up", "m": "down", "z": "zero", "a": "away"}
"""Letters of instructions' names, and ways to round as `ir.fp` calls them, and one more."""


def _pick(numbers: Numbers, mask: Value, a: Value, b: Value) -> Value:
    """``a`` where there are ones in the mask, which is one bit for a lone number."""
    return select(mask, a, b) if mask.width == 1 else choose(mask, a, b)


def integral(cpu: Cpu, numbers: Numbers, value: Value, how: str) -> Value:
    """FPRoundInt. ``how`` is one of `MODES`, or "current", or "exact" for the current mode with
    an inexact exception."""
    (value,) = flushed(cpu, numbers, value)
    if how == "exact":
        first = fp.round_to_integral(value, numbers.lane)
    else:
        first = rounded(numbers, value, how)
    result = cpu.local(first)
    with slowly(numbers.any_nan(first)):
        result.set(FLOATING.chosen(cpu, numbers, first, value))
    return result.value


def _less(numbers: Numbers, a: Value, b: Value, or_equal: bool = False) -> Value:
    compare = fp.less_equal if or_equal else fp.less
    return compare(a, b, 0 if numbers.count == 1 else numbers.lane)


def _in_range(numbers: Numbers, value: Value, width: int, is_signed: bool) -> Value:
    """Whether ``value``, truncated, is such an integer. A NaN is not, and invalid."""
    form = numbers.format
    inside = _less(numbers, value, numbers.each(form.number(width - is_signed)))
    if not is_signed:
        return inside & _less(numbers, numbers.each(form.number(0, sign=1)), value)
    minimum = form.number(width - 1, sign=1)
    if width <= form.precision:  # the format holds minimum - 1: one unit in a place further up
        unit = 1 << (form.precision - width)
        return inside & _less(numbers, numbers.each(minimum + unit), value)
    return inside & _less(numbers, numbers.each(minimum), value, or_equal=True)


def _every(mask: Value) -> Value:
    return mask if mask.width == 1 else mask == -1


def _scaled(numbers: Numbers, value: Value, bits: Value) -> Value:
    """A number times 2 to the ``bits``, exactly; what is out of range in any case stays."""
    form = numbers.format
    small = numbers.below(value, form.number(64))
    power = (bits.zext(numbers.lane) + form.maximum_exponent) << (form.precision - 1)
    factors = _splat(numbers, power)
    return choose(small, fp.mul(value & small, factors, numbers.lane), value)


def _splat(numbers: Numbers, value: Value) -> Value:
    return value if numbers.count == 1 else splat(value, numbers.count)


def to_integer(
    cpu: Cpu,
    numbers: Numbers,
    value: Value,
    how: str,
    is_signed: bool,
    width: int = 0,
    fraction: Value | None = None,
) -> Value:
    """FPToFixed: integers of ``width`` bits, as wide as the numbers if it is 0, with a
    ``fraction`` of as many bits. What is out of range saturates and is invalid."""
    (value,) = flushed(cpu, numbers, value)
    width = width or numbers.lane
    if numbers.format is HALF:  # which integers and scaled numbers are too large for
        value = fp.convert(value, 32, 16)
        numbers = Numbers(SINGLE, value.width)
    if fraction is not None:
        value = _scaled(numbers, value, fraction)
    whole = value if how == "zero" else rounded(numbers, value, how)
    inside = _in_range(numbers, whole, width, is_signed)
    # Integers are made in lanes as wide as those of the numbers.
    made = max(width, 32) if numbers.count == 1 else numbers.lane
    operation = fp.to_signed if is_signed else fp.to_unsigned
    result = cpu.local(const(0, made * numbers.count))

    def converted(mask: Value | None) -> Value:
        kept = [n if mask is None else _pick(numbers, mask, n, numbers.each(0))
                for n in (whole, value)]  # fmt: skip
        found = operation(kept[0], made, numbers.lane)
        if how != "zero":  # for the inexact exception
            operation(kept[1], made, numbers.lane)
        return found

    with slowly(~_every(inside)) as outside:
        fp.raise_flags(fp.NV)
        found = converted(inside)
        low, high = (-1 << (width - 1), (1 << (width - 1)) - 1) if is_signed else (0, -1)
        nan, negative = numbers.nans(value), lanes("asr", numbers.lane, value, numbers.lane - 1)
        if numbers.count == 1:
            limit = select(negative != 0, const(low, made), high)
            result.set(select(inside, found, select(nan != 0, const(0, made), limit)))
        else:
            limits = choose(negative, numbers.each(low), numbers.each(high)) & ~nan
            result.set(choose(inside, found, limits))
        with outside.otherwise():
            result.set(converted(None))
    if made == width:
        return result.value
    return lanes("trunc", made, result.value, to=width)


def from_integer(
    cpu: Cpu,
    numbers: Numbers,
    value: Value,
    is_signed: bool,
    fraction: Value | None = None,
) -> Value:
    """FixedToFP: integers, as wide as they come, with a ``fraction`` of as many bits."""
    operation = fp.from_signed if is_signed else fp.from_unsigned
    if numbers.format is HALF and fraction is not None:
        return _small_from_integer(cpu, numbers, value, is_signed, fraction)
    result = operation(value, numbers.lane, value.width // numbers.count)
    if fraction is None:
        return result
    return fp.mul(result, _fraction(numbers, fraction), numbers.lane)


def _fraction(numbers: Numbers, bits: Value) -> Value:
    """2 to the minus ``bits``: multiplying by it is exact, for no result is tiny."""
    form = numbers.format
    power = const(form.maximum_exponent, numbers.lane) - bits.zext(numbers.lane)
    return _splat(numbers, power << (form.precision - 1))


def _small_from_integer(
    cpu: Cpu, numbers: Numbers, value: Value, is_signed: bool, fraction: Value
) -> Value:
    """The same for halves, where results may be tiny: the exact number is a double first."""
    wide, width = Numbers(DOUBLE, 64 * numbers.count), value.width // numbers.count
    if width == 64:
        # Bits that there is no room for are one that tells of them.
        rest = (value & 0xFFF) != 0
        odd = (value & ~0xFFF) | select(rest, const(0x1000, 64), 0)
        size = select(value.slt(0), -value, value) if is_signed else value
        value = select(size.ult(1 << 52), value, odd)
    operation = fp.from_signed if is_signed else fp.from_unsigned
    exact = fp.mul(operation(value, 64, width), _fraction(wide, fraction), 64)
    return compute(
        cpu,
        wide,
        lambda number: fp.convert(number, 16, 64),
        exact,
        tiny=True,
        nans=lambda result, given: result,  # there are none
        to=numbers,
    )


def integral_of_size(cpu: Cpu, numbers: Numbers, value: Value, how: str, width: int) -> Value:
    """FPRoundIntN: what is out of the range of such integers is the least of them, and invalid."""
    (value,) = flushed(cpu, numbers, value)
    rounded = fp.rounded(value, how, numbers.lane)
    result = cpu.local(rounded)
    inside = _in_range(numbers, rounded, width, is_signed=True)
    with slowly(~_every(inside)) as outside:
        fp.raise_flags(fp.NV)
        least = numbers.each(numbers.format.number(width - 1, sign=1))
        _inexact(numbers, _pick(numbers, inside, value, numbers.each(0)))
        result.set(_pick(numbers, inside, rounded, least))
        with outside.otherwise():
            _inexact(numbers, value)
    return result.value


def _inexact(numbers: Numbers, value: Value) -> None:
    """Raise what rounding to an integral number raises."""
    fp.round_to_integral(value, numbers.lane)


def _fitted(source: Numbers, to: Numbers, bits: Value) -> Value:
    """Lanes of one width as lanes of another."""
    return lanes("zext" if to.lane > source.lane else "trunc", source.lane, bits, to=to.lane)


def _converted(
    cpu: Cpu, source: Numbers, to: Numbers, value: Value, operate: Operation, tiny: bool
) -> Value:
    """A NaN keeps its sign and as much of its payload as there is room for (FPConvertNaN)."""
    shift = to.format.precision - source.format.precision

    def nans(result: Value, given: list[Value]) -> Value:
        payload = given[0] & source.each(source.format.quiet - 1)
        if shift < 0:
            payload = _fitted(source, to, lanes("lsr", source.lane, payload, -shift))
        else:
            payload = lanes("shl", to.lane, _fitted(source, to, payload), shift)
        sign = _fitted(source, to, lanes("lsr", source.lane, given[0], source.lane - 1))
        sign = lanes("shl", to.lane, sign, to.lane - 1)
        found = sign | payload | to.each(to.format.nan)
        return choose(to.nans(result), FLOATING.default_or(cpu, to, found), result)

    return compute(cpu, source, operate, value, tiny=tiny, nans=nans, to=to)


def convert(cpu: Cpu, source: Numbers, to: Numbers, value: Value) -> Value:
    """FPConvert."""

    def ordinary(value: Value) -> Value:
        narrows = to.lane < source.lane
        return _converted(
            cpu, source, to, value, lambda a: fp.convert(a, to.lane, source.lane), tiny=narrows
        )

    if 16 not in (source.lane, to.lane):
        return ordinary(value)
    result = cpu.local(const(0, to.width))
    with slowly((cpu.fpcr & AHP) != 0) as alternative:
        need_fp(cpu)
        if to.lane == 16:
            result.set(to_alternative(cpu, source, to, value, ordinary))
        else:
            result.set(from_alternative(source, to, value))
        with alternative.otherwise():
            result.set(ordinary(value))
    return result.value


def convert_to_odd(cpu: Cpu, source: Numbers, to: Numbers, value: Value) -> Value:
    """FPConvert to a narrower format, rounded to odd: truncated, with ones in the last place where
    that is inexact."""

    def operate(a: Value) -> Value:
        fp.set_rounding(fp.Rounding.TOWARD_ZERO)
        truncated = fp.convert(a, to.lane, source.lane)
        set_rounding(cpu)
        infinite = ~to.below(truncated, to.format.infinity)
        again = fp.convert(truncated & ~infinite, source.lane, to.lane)
        rest = _fitted(source, to, lanes("ne", source.lane, again, a))
        return truncated | (rest & ~infinite & to.each(1))

    return _converted(cpu, source, to, value, operate, tiny=False)
