"""Floating point in AArch64 (A1.5, J1.1.3): formats, NaNs, tiny results, flushing to zero.

The host computes, in the guest's rounding mode and accumulating its flags. Where Arm's results
differ, slow code corrects them: by Arm's `FloatPolicy`, and by flushing tiny operands and results
to zero under FPCR.FZ, which is defined differently from x86's flushing.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from ...ir import fp, softfloat
from ...ir.fp import Rounding
from ...ir.value import Value, const, select
from ...ir.vector import choose, lanes
from .. import floating
from ..floating import FloatPolicy, NanRule, Operation, Tininess
from ..trace import Cpu, slowly, when
from .fp_access import DN, FZ, FZ16, IDC, MODES, RMODE, need_fp, set_rounding

__all__ = [
    "DOUBLE", "FLOATING", "HALF", "SINGLE", "STORED_HALF", "Format", "Numbers",
    "compute", "flushed", "write",
]  # fmt: skip


class Format(softfloat.Format, frozen=True):
    """A format with its letter in assembly, its kind of register there, and its ``ftype``."""

    letter: str
    register: str
    code: str
    flush: int
    """The bit of FPCR that flushes tiny numbers to zero; 0 if there is none."""


HALF = Format(16, 11, "h", "h", "11", FZ16)
SINGLE = Format(32, 24, "s", "s_", "00", FZ)
DOUBLE = Format(64, 53, "d", "d", "01", FZ)
STORED_HALF = replace(HALF, flush=0)
"""Half precision in conversions to and from other formats, which do not flush tiny numbers."""


class Numbers(floating.Numbers, frozen=True):
    """`floating.Numbers` of one of these formats, as registers hold them."""

    format: Format

    def read(self, cpu: Cpu, register: Value) -> Value:
        """An operand."""
        value: Value = cpu.v[register].trunc(self.width)
        return value


# The first operand's NaN, but a signalling one before the others (J1.1.3, FPProcessNaNs).
FLOATING = FloatPolicy(
    rounding=lambda state: MODES >> 2 * (state.get("fpcr") >> RMODE & 3) & 3,
    set_rounding=set_rounding,
    nans=NanRule.SIGNALLING_FIRST,
    tininess=Tininess.BEFORE_ROUNDING,
    wants_default=lambda cpu: (cpu.fpcr & DN) != 0,
)


def write(cpu: Cpu, register: Value, value: Value) -> None:
    """Write a result; the bits of the register above it are cleared."""
    cpu.v[register] = value.zext(128)


def _flush(cpu: Cpu, numbers: Numbers, value: Value) -> Value:
    """``value`` with zeros for subnormal numbers, noted in FPSR (not in half precision)."""
    tiny = numbers.below(value, numbers.format.smallest)
    tiny = tiny & lanes("ne", numbers.lane, numbers.magnitudes(value), 0)
    if numbers.lane != 16:
        cpu.fpsr_qc = cpu.fpsr_qc | select(tiny != 0, const(IDC, 32), 0)
    return choose(tiny, value & numbers.each(numbers.format.sign), value)


def flushed(cpu: Cpu, numbers: Numbers, *values: Value) -> list[Value]:
    """The operands, flushed to zero as FPCR says: the first step of every instruction that
    interprets numbers. Traps if floating point is not enabled."""
    return _flushed(cpu, need_fp(cpu), numbers, *values)


def _flushed(cpu: Cpu, special: Value, numbers: Numbers, *values: Value) -> list[Value]:
    cells = [cpu.local(value) for value in values]
    with slowly(special), when((cpu.fpcr & numbers.format.flush) != 0):
        for cell, value in zip(cells, values, strict=True):
            cell.set(_flush(cpu, numbers, value))
    return [cell.value for cell in cells]


def _without_tiny(
    cpu: Cpu,
    numbers: tuple[Numbers, Numbers],
    operate: Operation,
    operands: list[Value],
    before: Value,
) -> Value:
    """The result with zeros where it is tiny before rounding, which raises underflow and not
    inexact (FPRound). These are the lanes that are between zero and the smallest normal number in
    both directed rounding modes, and not zero in both."""
    source, to = numbers
    low, high = (
        FLOATING.in_mode(cpu, mode, operate, operands) for mode in (Rounding.DOWN, Rounding.UP)
    )
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
    """An operation of `ir.fp` on numbers, with Arm's results. Traps if floating point is not
    enabled.

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
    unusual = FLOATING.unusual(to, first, tiny)
    if tiny:
        with slowly(unusual):
            FLOATING.note_tiny(cpu, to, operate, given, first)
    with slowly(special), when((cpu.fpcr & to.format.flush) != 0):
        result.set(_without_tiny(cpu, (numbers, to), operate, given, before.value))
    with slowly(unusual):
        found = nans if nans else lambda result, given: FLOATING.chosen(cpu, to, result, *given)
        result.set(found(result.value, given))
    return result.value
