"""Floating-point numbers in vector registers (volume 1, 11.4 and 11.5): operations on parts of
vectors, and on single numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from ...ir import fp
from ...ir.softfloat import DOUBLE, SINGLE, Format
from ...ir.value import Value, const, select
from ...ir.vector import choose, lanes, shuffle
from ..floating import Numbers
from ..trace import Cpu, slowly, when
from .simd import (
    Encoding,
    Form,
    Meaning,
    describe,
    merged,
    no_vvvv,
    read_parts,
    read_source,
    write_parts,
)
from .vector_state import SUBNORMAL_ZERO, exactly

__all__ = [
    "ARITHMETIC", "FORMATS", "LEGACY", "VEX", "Binary", "Kind", "compared", "exact", "joined_pairs",
    "packed_numbers", "root",
    "scalar_forms", "scalar_numbers", "subnormal",
]  # fmt: skip

LEGACY, VEX = Form(128, vex=False), Form(128, vex=True)

Binary = Callable[[Value, Value, int], Value]
"""Of two values, in lanes of so many bits."""


class Kind:
    """A format, with the suffixes and prefixes of its instructions: packed and scalar."""

    def __init__(self, form: Format, packed: tuple[str, str], scalar: tuple[str, str], since: str):
        self.form, self.lane, self.since = form, form.width, since
        self.packed, self.scalar = packed, scalar
        self.letter = "d" if form is SINGLE else "q"


FORMATS = (
    Kind(SINGLE, ("ps", "np"), ("ss", "f3"), "sse"),
    Kind(DOUBLE, ("pd", "66"), ("sd", "f2"), "sse2"),
)


def subnormal(form: Format) -> Callable[[Value], Value]:
    """Whether there is a subnormal number in a value, one bit."""

    def found(value: Value) -> Value:
        numbers = Numbers(form, value.width)
        tiny = numbers.below(value, form.smallest)
        some: Value = tiny & lanes("ne", form.width, numbers.magnitudes(value), 0)
        return some != 0

    return found


def exact(operation: Callable[..., Value]) -> Binary:
    """An operation of `ir.fp` with the first NaN as result."""

    def meaning(a: Value, b: Value, lane: int) -> Value:
        return operation(a, b, lane, first_nan=True)

    return meaning


def _zeros(cpu: Cpu, form: Format, *values: Value) -> tuple[Value, Value]:
    """Values with zeros for subnormal numbers, if MXCSR.DAZ asks for that: where a number is copied
    and not computed the host has nothing of it."""
    cells = [cpu.local(value) for value in values]
    with slowly((cpu.vector_checks & SUBNORMAL_ZERO) != 0):
        for cell, value in zip(cells, values, strict=True):
            numbers = Numbers(form, value.width)
            below = numbers.below(value, form.smallest)
            cell.set(choose(below, value & numbers.each(form.sign), value))
    first, second = cells
    return first.value, second.value


def _limit(swapped: bool) -> Binary:
    """MIN and MAX: the second operand, where either is a NaN or both are zeros."""

    def meaning(a: Value, b: Value, lane: int) -> Value:
        first, second = (b, a) if swapped else (a, b)
        if lane == a.width:
            return select(fp.less(first, second), a, b)
        return choose(fp.less(first, second, lane), a, b)

    return meaning


def root(a: Value, b: Value, lane: int) -> Value:
    """The square root of the second operand."""
    return fp.sqrt(b, lane, first_nan=True)


ARITHMETIC: tuple[tuple[str, str, Binary, bool], ...] = (
    ("add", "58", exact(fp.add), True),
    ("mul", "59", exact(fp.mul), True),
    ("sub", "5c", exact(fp.sub), True),
    ("min", "5d", _limit(False), False),
    ("div", "5e", exact(fp.div), True),
    ("max", "5f", _limit(True), False),
)
"""Name, opcode, meaning, and whether a result may be tiny."""


def packed_numbers(
    operation: Binary, form_of: Format, tiny: bool = False, flushes: bool = False
) -> Meaning:
    """The meaning of an operation on each part. With ``flushes`` a result may be an operand."""
    lane, small = form_of.width, subnormal(form_of) if tiny else None

    def meaning(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
        form.ready(cpu, numbers=True)
        b = read_source(cpu, fields, form)
        a = read_parts(cpu, form.first(fields), form)
        pairs = list(zip(a, b, strict=True))
        if flushes:
            pairs = [_zeros(cpu, form_of, *pair) for pair in pairs]
        results = exactly(cpu, lambda: [operation(x, y, lane) for x, y in pairs], small)
        write_parts(cpu, fields["reg"], results, form)

    return meaning


def scalar_numbers(
    operation: Binary, form_of: Format, tiny: bool = False, flushes: bool = False
) -> Meaning:
    """The meaning of an operation on the lowest numbers; the first source has the rest."""
    lane, small = form_of.width, subnormal(form_of) if tiny else None

    def meaning(cpu: Cpu, form: Form, fields: Mapping[str, Value]) -> None:
        form.ready(cpu, numbers=True)
        (b,) = read_source(cpu, fields, form, lane)
        whole = cpu.xmm[form.first(fields)]
        a = whole.trunc(lane)
        if flushes:
            a, b = _zeros(cpu, form_of, a, b)
        (result,) = exactly(cpu, lambda: [operation(a, b, lane)], small)
        write_parts(cpu, fields["reg"], [merged(whole, result)], form)

    return meaning


def scalar_forms(
    name: str,
    prefix: str,
    opcode: str,
    codes: str,
    meaning: Meaning,
    since: str,
    third: bool = True,
    avx: str = "avx",
) -> None:
    """Describe an instruction on lowest numbers, without VEX and with."""
    encoding = Encoding(name, prefix, opcode, codes, third)
    for row, extension, form in (
        (encoding.legacy(), since, LEGACY),
        (encoding.vex(0), avx, VEX),
    ):
        if not extension:
            continue
        where = no_vvvv if form.vex and not third else None

        @describe(*row, extension, where=where, restartable=True)
        def instruction(cpu: Cpu, form: Form = form, **fields: Value) -> None:
            meaning(cpu, form, fields)


def joined_pairs(operation: Binary) -> Binary:
    """Neighbours, first those of one operand and then those of the other."""

    def meaning(a: Value, b: Value, lane: int) -> Value:
        count = 2 * a.width // lane
        even, odd = (shuffle(lane, range(first, count, 2), a, b) for first in (0, 1))
        return operation(even, odd, lane)

    return meaning


# -- comparisons by a predicate


def compared(cpu: Cpu, imm: Value, a: Value, b: Value, lane: int, vex: bool) -> Value:
    """Lanes of ones where a predicate holds: three bits, five with VEX (volume 2, CMPPD)."""
    result = cpu.local(const(0, a.width))
    with when((imm[4:3] == 0) if vex else True) as classic:
        _classic(result.set, imm, a, b, lane)
        if vex:
            with classic.otherwise():
                _further(result.set, imm, a, b, lane)
    return result.value ^ imm[2].sext(a.width)


def _bits(compare: Callable[..., Value], a: Value, b: Value, lane: int) -> Value:
    if lane == a.width:
        return compare(a, b).sext(lane)
    return compare(a, b, lane)


def _put(
    put: Callable[[Value], None], compare: Callable[..., Value], a: Value, b: Value, lane: int
) -> None:
    put(_bits(compare, a, b, lane))


def _one_of(number: Value, ways: tuple[Callable[[], None], ...]) -> None:
    """Do what a number says."""
    if len(ways) == 1:
        ways[0]()
        return
    with when(number == 0) as first:
        ways[0]()
        with first.otherwise():
            _one_of(number - 1, ways[1:])


def _classic(put: Callable[[Value], None], imm: Value, a: Value, b: Value, lane: int) -> None:
    """Equal, less, less or equal, unordered; the middle ones are invalid for all NaNs."""
    _one_of(imm[1:0], tuple(
        partial(_put, put, compare, a, b, lane)
        for compare in (fp.equal, fp.less, fp.less_equal, fp.unordered)
    ))  # fmt: skip


def _further(put: Callable[[Value], None], imm: Value, a: Value, b: Value, lane: int) -> None:
    """The same with unordered in place of ordered, if bit 3 is set; bit 4 exchanges which ones are
    invalid for all NaNs."""
    signals = imm[4] ^ ((imm[1] ^ imm[0]) == 1)
    with when(signals):
        _bits(fp.less_equal, a, b, lane)
    ones = const(-1, a.width)

    def plain(quiet: Callable[..., Value]) -> Callable[[], None]:
        return lambda: put(_bits(quiet, a, b, lane))

    def turned(quiet: Callable[..., Value]) -> Callable[[], None]:
        return lambda: put(_bits(quiet, b, a, lane) ^ ones)

    def never() -> None:
        put(_bits(fp.unordered, a, b, lane) & 0)

    with when(imm[3] == 0) as ordered:
        _one_of(imm[1:0], (
            plain(fp.equal), plain(fp.less_quiet), plain(fp.less_equal_quiet), plain(fp.unordered),
        ))  # fmt: skip
        with ordered.otherwise():
            _one_of(imm[1:0], (
                plain(fp.equal_or_unordered), turned(fp.less_equal_quiet), turned(fp.less_quiet),
                never,
            ))  # fmt: skip
