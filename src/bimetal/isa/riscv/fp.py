"""Floating point in RISC-V (volume I, chapters 20 and 21): formats, NaN boxes, rounding, status.

While ``fp_ready`` is 1 (mstatus.FS is Dirty and frm is a mode of the host) nothing needs a check:
the current rounding mode is frm and the sticky flags are fflags. All else is done slowly.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ...ir import fp, softfloat
from ...ir.value import Value, select
from ..floating import FloatPolicy, NanRule, Tininess
from ..trace import Cpu, slowly, when
from .csrs import FS, update_fp_ready
from .traps import illegal

__all__ = [
    "DOUBLE", "DYN", "FLOATING", "RDN", "RMM", "RNE", "RTZ", "RUP", "SINGLE", "Format",
    "dirty", "need_fp", "need_mode", "ready", "rounding",
]  # fmt: skip

RNE, RTZ, RDN, RUP, RMM = fp.Rounding  # I 20.2, numbered so
DYN = 7


class Format(softfloat.Format, frozen=True):
    """One of the formats that an f register can hold, whose default NaN is the canonical one
    (I 20.3). ``code`` is its fmt field."""

    extension: str
    suffix: str
    code: str

    def read(self, cpu: Cpu, register: Value) -> Value:
        """An operand; a narrow value that is not in a NaN box is the canonical NaN (I 21.2)."""
        bits: Value = cpu.f[register]
        if self.width == 64:
            return bits
        box = (1 << (64 - self.width)) - 1
        return select(bits[63 : self.width] == box, bits.trunc(self.width), self.nan)

    def write(self, cpu: Cpu, register: Value, value: Value) -> None:
        """Put bits into a register, narrow ones into a NaN box."""
        cpu.f[register] = value.zext(64) | ((1 << 64) - (1 << self.width))

    def canonical(self, value: Value) -> Value:
        """The result of an operation: every NaN comes out as the canonical one."""
        return fp.with_nan(value, FLOATING.default(self))

    def is_signalling(self, value: Value) -> Value:
        """Whether ``value`` is a signalling NaN."""
        return fp.is_nan(value) & ((value & self.quiet) == 0)


SINGLE = Format(32, 24, "f", "s", "00")
DOUBLE = Format(64, 53, "d", "d", "01")


def need_fp(cpu: Cpu) -> None:
    """Illegal while mstatus.FS is Off; for what changes no floating-point state."""
    with slowly(cpu.fp_ready != 1), when((cpu.mstatus & FS) == 0):
        illegal(cpu)


def _written(cpu: Cpu) -> None:
    """Mark the floating-point state dirty. II 3.1.6.6 allows that without a visible change."""
    cpu.mstatus = cpu.mstatus | FS
    update_fp_ready(cpu)


def dirty(cpu: Cpu) -> None:
    """Note that floating-point state changes."""
    with slowly(cpu.fp_ready != 1):
        _written(cpu)


def ready(cpu: Cpu) -> None:
    """Prepare for a change of floating-point state by an instruction that cannot trap."""
    with slowly(cpu.fp_ready != 1):
        with when((cpu.mstatus & FS) == 0):
            illegal(cpu)
        _written(cpu)


def _set_mode(cpu: Cpu, mode: Value) -> None:
    # No common host rounds to nearest with ties away from zero: the reference does.
    with when(mode == RMM):
        cpu.leave("reference")
    fp.set_rounding(mode)


def _restore_mode(cpu: Cpu) -> None:
    # Any mode will do while frm is not one of the host's.
    fp.set_rounding(cpu.frm.trunc(2).zext(3))


# The result of an operation is the canonical NaN, whatever the operands were (I 20.3), and tiny
# after it is rounded (I 20.5).
FLOATING = FloatPolicy(
    rounding=lambda state: state.get("frm"),
    set_rounding=_restore_mode,
    nans=NanRule.DEFAULT,
    tininess=Tininess.AFTER_ROUNDING,
)


def need_mode(cpu: Cpu, rm: Value) -> None:
    """Prepare for a change of floating-point state by an instruction that rounds in the mode ``rm``
    without the host's: then ``fp_ready`` is 1 unless frm is `RMM`. Traps if it is reserved."""
    with slowly((rm == 5) | (rm == 6)):
        illegal(cpu)
    with slowly(cpu.fp_ready != 1), when((rm == DYN) & cpu.frm.uge(5)):
        illegal(cpu)
    ready(cpu)


@contextmanager
def rounding(cpu: Cpu, rm: Value, exact: bool = False) -> Iterator[None]:
    """The rounding mode ``rm`` for what is computed inside; illegal-instruction if reserved.

    An ``exact`` operation needs a valid mode, too, but not the mode itself.
    """
    static, not_ready = rm != DYN, cpu.fp_ready != 1
    with slowly((rm == 5) | (rm == 6)):
        illegal(cpu)
    with slowly(not_ready):
        dynamic = rm == DYN
        with when(((cpu.mstatus & FS) == 0) | (dynamic & cpu.frm.uge(5))):
            illegal(cpu)
        if not exact:
            with when(dynamic):
                _set_mode(cpu, cpu.frm.trunc(3))
        _written(cpu)
    if exact:
        yield
        return
    with slowly(static):
        _set_mode(cpu, rm)
    yield
    # Two blocks, so that fast code, which has made both tests, needs neither again.
    with slowly(not_ready):
        _restore_mode(cpu)
    with slowly(static):
        _restore_mode(cpu)
