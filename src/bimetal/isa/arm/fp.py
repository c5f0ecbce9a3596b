"""Floating point in AArch64 (A1.5, J1.1.3): formats, NaNs, tiny results, flushing to zero.

The host computes, in the guest's rounding mode and with its flags. What Arm does otherwise is done
slowly where it shows: NaNs of operands come out by their order, or the default one does; a result
is tiny before it is rounded, so the smallest normal number may have underflowed; and with FPCR.FZ
operands and results that are tiny are zero.

One meaning serves scalars and vectors: a scalar is a vector of one lane.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ...ir import fp, softfloat
from ...ir.fp import Rounding
from ...ir.value import Value, const, select
from ...ir.vector import choose, join, lanes
from ..trace import Cpu, slowly, when
from .fp_access import DN, FZ, FZ16, IDC, need_fp, set_rounding

__all__ = [
    "DOUBLE", "HALF", "SINGLE", "STORED_HALF", "Format", "Numbers", "Operation",
    "compute", "default_or", "flushed", "processed", "write",
]  # fmt: skip

Operation = Callable[..., Value]


@dataclass(frozen=True, slots=True)
class Format(softfloat.Format):
    """A format with its letter in assembly, its kind of register there, and its ``ftype``."""

    letter: str
    register: str
    code: str
    flush: int
    """The bit of FPCR by which tiny numbers are zero, 0 if none."""


HALF = Format(16, 11, "h", "h", "11", FZ16)
SINGLE = Format(32, 24, "s", "s_", "00", FZ)
DOUBLE = Format(64, 53, "d", "d", "01", FZ)
STORED_HALF = replace(HALF, flush=0)
"""Half precision in conversions to and from other formats, which keep what is tiny."""


@dataclass(frozen=True, slots=True)
class Numbers:
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

    def unordered(self, a: Value, b: Value) -> Value:
        """Whether there is a NaN in either, one bit; a signalling one is invalid."""
        if self.count == 1:
            return fp.unordered(a, b)
        return fp.unordered(a, b, self.lane) != 0

    def read(self, cpu: Cpu, register: Value) -> Value:
        """An operand."""
        value: Value = cpu.v[register].trunc(self.width)
        return value


def write(cpu: Cpu, register: Value, value: Value) -> None:
    """A result; what lies above it is cleared."""
    cpu.v[register] = value.zext(128)


def _flush(cpu: Cpu, numbers: Numbers, value: Value) -> Value:
    """``value`` with zeros for subnormal numbers, noted in FPSR (not in half precision)."""
    tiny = numbers.below(value, numbers.format.smallest)
    tiny = tiny & lanes("ne", numbers.lane, numbers.magnitudes(value), 0)
    if numbers.lane != 16:
        cpu.fpsr_qc = cpu.fpsr_qc | select(tiny != 0, const(IDC, 32), 0)
    return choose(tiny, value & numbers.each(numbers.format.sign), value)


def flushed(cpu: Cpu, numbers: Numbers, *values: Value) -> list[Value]:
    """What comes first in every instruction that looks at numbers: these operands, flushed to
    zero as FPCR says. Traps where floating point does."""
    return _flushed(cpu, need_fp(cpu), numbers, *values)


def _flushed(cpu: Cpu, special: Value, numbers: Numbers, *values: Value) -> list[Value]:
    cells = [cpu.local(value) for value in values]
    with slowly(special), when((cpu.fpcr & numbers.format.flush) != 0):
        for cell, value in zip(cells, values, strict=True):
            cell.set(_flush(cpu, numbers, value))
    return [cell.value for cell in cells]


def default_or(cpu: Cpu, numbers: Numbers, value: Value) -> Value:
    """``value``, or the default NaN where FPCR.DN asks for it."""
    default = numbers.each(numbers.format.nan)
    return select((cpu.fpcr & DN) != 0, default, value)


def processed(cpu: Cpu, numbers: Numbers, result: Value, *operands: Value) -> Value:
    """FPProcessNaNs for the lanes of ``result`` that are NaNs: the first operand that is a
    signalling one, made quiet, else the first that is a NaN, else the default."""
    found = numbers.each(numbers.format.nan)
    quiet = numbers.each(numbers.format.quiet)
    for kind in (numbers.nans, numbers.signalling):
        for operand in reversed(operands):
            found = choose(kind(operand), operand | quiet, found)
    return choose(numbers.nans(result), default_or(cpu, numbers, found), result)


def _magnified(cpu: Cpu, mode: Rounding, operate: Operation, operands: list[Value]) -> Value:
    """The result in another rounding mode; its flags are added."""
    fp.set_rounding(mode)
    result = operate(*operands)
    set_rounding(cpu)
    return result


def _without_tiny(
    cpu: Cpu,
    numbers: tuple[Numbers, Numbers],
    operate: Operation,
    operands: list[Value],
    before: Value,
) -> Value:
    """The result with zeros where it is tiny before it is rounded, which is an underflow and not
    inexact (FPRound). Such lanes are those between zero and the smallest normal number in both
    directed modes, but not zero in both."""
    source, to = numbers
    low, high = (_magnified(cpu, mode, operate, operands) for mode in (Rounding.DOWN, Rounding.UP))
    smallest = to.format.smallest
    tiny = to.below(low, smallest) | to.below(high, smallest)
    tiny = tiny & lanes("ne", to.lane, to.magnitudes(low | high), 0)
    fp.set_flags(before)
    # Ones give no flags in any operation.
    one, spare = source.each(source.format.number(0)), tiny
    if source.lane != to.lane:
        spare = lanes("sext" if source.lane > to.lane else "trunc", to.lane, tiny, to=source.lane)
    result = operate(*(choose(spare, one, operand) for operand in operands))
    with when(tiny != 0):
        fp.raise_flags(fp.UF)
    signs = to.each(to.format.sign)
    return choose(tiny, (low | high) & signs, result)


def compute(
    cpu: Cpu,
    numbers: Numbers,
    operate: Operation,
    *operands: Value,
    tiny: bool = False,
    nans: Callable[[Value, list[Value]], Value] | None = None,
    to: Numbers | None = None,
) -> Value:
    """An operation of `ir.fp` on numbers, as Arm does it; traps where floating point does.

    ``tiny`` says that a result may be rounded up to the smallest normal number. ``nans`` makes
    the NaNs of the result where they are not those of the operands in their order.
    """
    to = to or numbers
    special = need_fp(cpu)
    given = _flushed(cpu, special, numbers, *operands)
    before = cpu.local(const(0, 5))
    with slowly(special):
        before.set(fp.flags())
    result = cpu.local(operate(*given))
    first = result.value
    if tiny:
        smallest = lanes("eq", to.lane, to.magnitudes(first), to.format.smallest)
        with slowly(smallest != 0):
            _magnified(cpu, Rounding.TOWARD_ZERO, operate, given)
    with slowly(special), when((cpu.fpcr & to.format.flush) != 0):
        result.set(_without_tiny(cpu, (numbers, to), operate, given, before.value))
    with slowly(to.unordered(first, first)):
        result.set(nans(result.value, given) if nans else processed(cpu, to, result.value, *given))
    return result.value
