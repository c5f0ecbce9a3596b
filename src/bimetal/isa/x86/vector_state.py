"""MXCSR, and what has to be looked at before vector and x87 instructions (volume 1, 10.2.3, 11.5;
volume 3, 2.5).

MXCSR's flags are the host's while native code runs; the rest is stored. Native code computes with
all exceptions masked: where the guest has unmasked one, slow code looks at each result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...ir import fp
from ...ir.value import Value, const, select
from ..floating import FloatPolicy, NanRule, Tininess
from ..trace import Cpu, slowly, when
from .state import x86
from .traps import SIMD as SIMD_VECTOR
from .traps import cause_of, math_fault, no_math, undefined_opcode

__all__ = [
    "AVX",
    "FLOATING",
    "MODES",
    "MXCSR_MASK",
    "NUMBERS",
    "RESET_MXCSR",
    "SSE",
    "SUBNORMAL_ZERO",
    "X87",
    "check_vectors",
    "exactly",
    "raise_simd",
    "read_mxcsr",
    "ready",
    "set_rounding",
    "write_mxcsr",
]  # fmt: skip

RESET_MXCSR = 0x1F80
"""MXCSR after reset: all exceptions masked."""
MXCSR_MASK = 0xFFFF
DAZ, MASKS, RC, FTZ = 6, 7, 13, 15
STORED = 0xFFC0
"""All of it but the flags."""
PLACES = (5, 4, 3, 2, 0, 1)
"""Where MXCSR has the flags of `ir.fp`: PE, UE, OE, ZE, IE, DE."""
BEFORE = fp.NV | fp.DZ | fp.DE
"""Flags that are raised before anything is computed: if one is unmasked, there are no others."""

# Modes of RC (to nearest, down, up, to zero) as `ir.fp` numbers them, two bits each.
MODES = 0 | 2 << 2 | 3 << 4 | 1 << 6

# What stands in the way, a bit each in `vector_checks`.
EMULATED, SWITCHED, UNMASKED, NO_AVX, PENDING, NO_SSE = (1 << n for n in range(6))
SUBNORMAL_ZERO = 1 << 6
SSE, AVX, X87 = NO_SSE | SWITCHED, NO_AVX | SWITCHED, EMULATED | SWITCHED | PENDING
NUMBERS = UNMASKED
"""What SSE, AVX, and x87 and MMX instructions look at; what those that compute numbers do too."""

EM, TS = 1 << 2, 1 << 3
OSFXSR, OSXMMEXCPT, OSXSAVE = 1 << 9, 1 << 10, 1 << 18
STATE = 6
"""XCR0's bits of XMM and YMM registers: AVX instructions need both."""


def set_rounding(cpu: Cpu) -> None:
    """Make MXCSR.RC the host's rounding mode."""
    mode = cpu.mxcsr_control.lsr(RC) & 3
    fp.set_rounding((const(MODES, 32).lsr(mode << 1) & 3).trunc(3))


FLOATING = FloatPolicy(
    rounding=lambda state: MODES >> 2 * (state.get("mxcsr_control") >> RC & 3) & 3,
    set_rounding=set_rounding,
    nans=NanRule.FIRST,
    tininess=Tininess.AFTER_ROUNDING,
    negative_default=True,
    notes_subnormal=True,
)


@x86.routine()
def check_vectors(cpu: Cpu) -> None:
    """Work out `vector_checks`, after changes of CR0, CR4, XCR0, MXCSR and the x87's status."""
    emulated, switched = (cpu.cr0 & EM) != 0, (cpu.cr0 & TS) != 0
    masked = (cpu.mxcsr_control.lsr(MASKS) & 0x3F) == 0x3F
    avx = ((cpu.cr4 & OSXSAVE) != 0) & ((cpu.xcr0 & STATE) == STATE)
    pending = (cpu.fsw & 0x80) != 0
    checks = const(0, 8)
    for bit, holds in (
        (EMULATED, emulated),
        (SWITCHED, switched),
        (UNMASKED, ~masked),
        (NO_AVX, ~avx),
        (PENDING, pending),
        (NO_SSE, emulated | ((cpu.cr4 & OSFXSR) == 0)),
        (SUBNORMAL_ZERO, cpu.mxcsr_control[DAZ]),
    ):
        checks = checks | select(holds, const(bit, 8), 0)
    cpu.vector_checks = checks
    set_rounding(cpu)
    daz, ftz = cpu.mxcsr_control[DAZ], cpu.mxcsr_control[FTZ]
    # With unmasked underflow nothing is flushed (10.2.3.3).
    ftz = ftz & cpu.mxcsr_control[MASKS + 4]
    fp.set_flushing(daz.zext(2) | ftz.zext(2) << 1)


def ready(cpu: Cpu, what: int) -> None:
    """Trap an instruction that may not be executed now; ``what`` are the checks that it needs."""
    with slowly((cpu.vector_checks & what) != 0):
        refuse(cpu, what & ~UNMASKED)


@x86.routine(what=8)
def refuse(cpu: Cpu, what: Value) -> None:
    """#UD, #NM or #MF, if one of these checks says so."""
    wrong = cpu.vector_checks & what
    with when((wrong & (EMULATED | NO_AVX | NO_SSE)) != 0):
        with when((what & EMULATED) != 0), when((what & PENDING) == 0):
            no_math(cpu)
        undefined_opcode(cpu)
    with when((wrong & SWITCHED) != 0):
        no_math(cpu)
    with when((wrong & PENDING) != 0):
        math_fault(cpu)


def read_mxcsr(cpu: Cpu) -> Value:
    """MXCSR."""
    value: Value = cpu.mxcsr_control
    flags = fp.flags(6)
    for n, place in enumerate(PLACES):
        value = value | flags[n].zext(32) << place
    return value


def write_mxcsr(cpu: Cpu, value: Value) -> None:
    """Set MXCSR, to a value that is allowed."""
    cpu.mxcsr_control = value & STORED
    flags = const(0, 6)
    for n, place in enumerate(PLACES):
        flags = flags | value[place].zext(6) << n
    fp.set_flags(flags, 6)
    check_vectors(cpu)


x86.view("mxcsr", 32, read_mxcsr, write_mxcsr)


def exactly(
    cpu: Cpu, operate: Callable[[], Sequence[Value]], tiny: Callable[[Value], Value] | None = None
) -> list[Value]:
    """The results of operations of `ir.fp`. If they raise what is not masked it is #XM. ``tiny``
    says whether a result has subnormal numbers, if they can be: unmasked, these are underflows also
    where they are exact (4.9.1.5)."""
    unmasked = (cpu.vector_checks & UNMASKED) != 0
    before = cpu.local(const(0, 6))
    with slowly(unmasked):
        before.set(fp.flags(6))
        fp.set_flags(0, 6)
    results = list(operate())
    with slowly(unmasked):
        raised = fp.flags(6)
        if tiny is not None:
            with_exact = cpu.mxcsr_control[MASKS + 4] == 0
            for result in results:
                raised = raised | select(tiny(result) & with_exact, const(fp.UF, 6), 0)
        raise_simd(cpu, before.value, raised)
    return results


@x86.routine(before=6, raised=6)
def raise_simd(cpu: Cpu, before: Value, raised: Value) -> None:
    """Add flags to those that were there ``before``. #XM, if one of them is not masked; #UD where
    CR4.OSXMMEXCPT does not know of that."""
    masks = const(0, 6)
    for n, place in enumerate(PLACES):
        masks = masks | cpu.mxcsr_control[MASKS + place].zext(6) << n
    early = raised & ~masks & BEFORE
    there = select(early != 0, raised & BEFORE, raised)
    fp.set_flags(before | there, 6)
    with when((there & ~masks) != 0):
        with when((cpu.cr4 & OSXMMEXCPT) == 0):
            undefined_opcode(cpu)
        cpu.trap(cause_of(SIMD_VECTOR))


def _wide(n: int) -> None:
    def read(cpu: Cpu) -> Value:
        whole: Value = cpu.xmm[n].zext(256) | cpu.ymmh[n].zext(256) << 128
        return whole

    def write(cpu: Cpu, value: Value) -> None:
        cpu.xmm[n] = value.trunc(128)
        cpu.ymmh[n] = value[255:128]

    x86.view(f"ymm{n}", 256, read, write)


for _n in range(16):
    _wide(_n)
