"""Model-specific registers (volume 4, chapter 2)."""

from __future__ import annotations

from ...ir.value import Value, const, select
from ..trace import Cpu, ret, when
from .canonical import non_canonical
from .control_registers import write_efer
from .cpuid import has
from .state import FS, GS, x86
from .traps import general_protection

__all__ = ["read_msr", "tsc", "write_msr"]

SCALARS = {
    0x174: "sysenter_cs", 0x175: "sysenter_esp", 0x176: "sysenter_eip", 0x277: "pat",
    0xC000_0081: "star", 0xC000_0082: "lstar", 0xC000_0083: "cstar", 0xC000_0084: "sfmask",
    0xC000_0102: "kernel_gs_base", 0xC000_0103: "tsc_aux", 0x1A0: "misc_enable",
    0x2FF: "mtrr_default", 0x3A: "feature_control", 0x48: "spec_ctrl",
}  # fmt: skip
"""Those that are registers of ours."""
ADDRESSES = {0x175, 0x176, 0xC000_0082, 0xC000_0083, 0xC000_0102}
"""Those that hold canonical addresses."""
_LONG = (0xC000_0082, 0xC000_0083, 0xC000_0100, 0xC000_0101, 0xC000_0102)
OF_FEATURES = {
    **dict.fromkeys((0x174, 0x175, 0x176), "sep"), 0x277: "pat", 0x2FF: "mtrr", 0x48: "spec_ctrl",
    **dict.fromkeys((0xC000_0081, 0xC000_0084), "syscall"), **dict.fromkeys(_LONG, "lm"),
    0xC000_0103: "rdtscp", 0x10: "tsc", 0x3B: "tsc_adjust", 0x6E0: "tsc_deadline", 0xFE: "mtrr",
    0x10A: "arch_capabilities",
}  # fmt: skip
"""Those that only processors with a feature have."""
CAPABILITIES, CAPABLE = (
    0x10A,
    sum(1 << n for n in (0, 1, 3, 4, 5, 6, 8, 13, 14, 15, 20, 24, 26, 27, 62)),
)
"""None of the ways in which processors speculate, and let that be seen, is there (IA32_
ARCH_CAPABILITIES)."""
TSC, TSC_ADJUST, EFER, FS_BASE, GS_BASE = 0x10, 0x3B, 0xC000_0080, 0xC000_0100, 0xC000_0101
APIC_BASE, X2APIC, X2APIC_END, TSC_DEADLINE = 0x1B, 0x800, 0x8FF, 0x6E0
BY_MSRS = 1 << 10
"""The bit of IA32_APIC_BASE with which the local APIC's registers are MSRs."""
MTRRS, MTRRS_END, FIXED, FIXED_END = 0x200, 0x20F, 0x250, 0x26F
MTRR_CAPABILITIES, MTRR_COUNT = 0xFE, 0x508
ZEROS = (
    0x17, 0x49, 0x79, 0x8B, 0x9E, 0xCE, 0x140, 0x17A, 0x179, 0x1D9, 0x1DB, 0x1DC, 0x1DD, 0x1DE,
    0x34, 0x199, 0x198, 0x606, 0xC001_0010, 0xC001_001F, 0xC001_0055, 0xC001_0112, 0xC001_0131,
)  # fmt: skip
"""Those that read as 0 and lose what is written."""
HARDWARE, STEADY_COUNT = 0xC001_0015, 1 << 24
"""AMD's HWCR: the time-stamp counter counts as fast in all states."""


def tsc(cpu: Cpu) -> Value:
    """The time-stamp counter, in nanoseconds."""
    now: Value = cpu.host("time_ns", 64) + _ahead(cpu)
    return now


def _ahead(cpu: Cpu) -> Value:
    """How far the time-stamp counter is ahead of the machine's clock."""
    ahead: Value = cpu.tsc_offset + cpu.tsc_adjust
    return ahead


def _deadline(cpu: Cpu, value: Value, ahead: Value) -> Value:
    """The moment of the machine's clock at which a time-stamp counter that is ``ahead`` of it comes
    to a ``value``; 0 if that is 0, which means never. What is over is due at once, and what is
    beyond the clock's range as late as can be (10.5.4.1: numbers without a sign are compared)."""
    now = cpu.host("time_ns", 64)
    counted = now + ahead
    moment = now + (value - counted)
    moment = select(moment.ult(now), const(-1, 64), moment)
    moment = select(counted.ult(value), moment, 1)
    return select(value == 0, const(0, 64), moment)


def _on_board(number: Value) -> Value:
    return (number == APIC_BASE) | _of_x2apic(number)


def _of_x2apic(number: Value) -> Value:
    return (number - X2APIC).ult(X2APIC_END - X2APIC + 1)


@x86.routine(number=32)
def need_msr(cpu: Cpu, number: Value) -> None:
    """#GP unless the processor's model has such a register. TSC_AUX is RDPID's too."""
    for feature in sorted(set(OF_FEATURES.values())):
        here = const(0, 1)
        for index, needed in OF_FEATURES.items():
            if needed == feature:
                here = here | (number == index)
        if feature == "mtrr":
            here = here | _mtrr(number)[0]
        there = has(cpu, feature)
        if feature == "rdtscp":
            there = there | has(cpu, "rdpid")
        with when(here & ~there):
            general_protection(cpu)
    with when(_of_x2apic(number) & ~has(cpu, "x2apic")):
        general_protection(cpu)


def _mtrr(number: Value) -> tuple[Value, Value]:
    """Whether it is one of the MTRRs, and its place among ours."""
    variable = (number - MTRRS).ult(MTRRS_END - MTRRS + 1)
    fixed = (number - FIXED).ult(FIXED_END - FIXED + 1)
    place = select(variable, number - MTRRS, number - FIXED + 16)
    return variable | fixed, select(variable | fixed, place, 0).trunc(6)


@x86.routine(returns=64, number=32)
def read_msr(cpu: Cpu, number: Value) -> Value:
    """RDMSR; #GP if there is no such register."""
    need_msr(cpu, number)
    for index, name in SCALARS.items():
        with when(number == index):
            ret(getattr(cpu, name))
    with when(number == TSC):
        ret(tsc(cpu))
    with when(number == TSC_ADJUST):
        ret(cpu.tsc_adjust)
    with when(number == EFER):
        ret(cpu.efer)
    for index, seg in ((FS_BASE, FS), (GS_BASE, GS)):
        with when(number == index):
            ret(cpu.base[seg])
    with when(_on_board(number)):
        ret(cpu.load_board(number.zext(64)))
    with when(number == TSC_DEADLINE):
        deadline = cpu.load_board(const(TSC_DEADLINE, 64))
        ret(select(deadline == 0, const(0, 64), deadline + _ahead(cpu)))
    with when(number == CAPABILITIES):
        ret(const(CAPABLE, 64))
    there, place = _mtrr(number)
    with when(there):
        ret(cpu.mtrr[place])
    with when(number == MTRR_CAPABILITIES):
        ret(const(MTRR_COUNT, 64))
    with when(number == HARDWARE):
        ret(const(STEADY_COUNT, 64))
    for index in ZEROS:
        with when(number == index):
            ret(const(0, 64))
    general_protection(cpu)
    return const(0, 64)


@x86.routine(number=32, value=64)
def write_msr(cpu: Cpu, number: Value, value: Value) -> None:
    """WRMSR; #GP if there is no such register, or for a value that it cannot have."""
    need_msr(cpu, number)
    wrong = non_canonical(cpu, value)
    for index, name in SCALARS.items():
        with when(number == index):
            if index in ADDRESSES:
                with when(wrong):
                    general_protection(cpu)
            setattr(cpu, name, value)
            ret()
    with when((number == TSC) | (number == TSC_ADJUST)):
        now = cpu.host("time_ns", 64) + cpu.tsc_offset
        adjust = select(number == TSC, value - now, value)
        # A deadline that waits is one of the counter: it comes at another moment.
        moment = cpu.load_board(const(TSC_DEADLINE, 64))
        with when(moment != 0):
            waits = _deadline(cpu, moment + _ahead(cpu), cpu.tsc_offset + adjust)
            cpu.store_board(const(TSC_DEADLINE, 64), waits)
        cpu.tsc_adjust = adjust
        ret()
    with when(number == EFER):
        write_efer(cpu, value)
        ret()
    for index, seg in ((FS_BASE, FS), (GS_BASE, GS)):
        with when(number == index):
            with when(wrong):
                general_protection(cpu)
            cpu.base[seg] = value
            ret()
    with when((number == APIC_BASE) & ((value & BY_MSRS) != 0) & ~has(cpu, "x2apic")):
        general_protection(cpu)
    with when(_on_board(number)):
        cpu.store_board(number.zext(64), value)
        ret()
    with when(number == TSC_DEADLINE):
        cpu.store_board(const(TSC_DEADLINE, 64), _deadline(cpu, value, _ahead(cpu)))
        ret()
    there, place = _mtrr(number)
    with when(there):
        cpu.mtrr[place] = value
        ret()
    for index in (HARDWARE, *ZEROS):
        with when(number == index):
            ret()
    general_protection(cpu)
