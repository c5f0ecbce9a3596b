"""Exceptions (D1.3): their target level, entry to a handler, and return from it."""

from __future__ import annotations

from ...ir.value import Value, const, select
from ..trace import Cpu, ret, when
from .access_syndromes import tell_of_instruction
from .accesses import update_strict
from .debug import pending_step, renew_debug, returns_ss
from .fp_access import set_rounding, update_fp_ready
from .hosts import ruled_by_el2
from .pauth import AT_EL2, update_pauth
from .pmu import advance
from .state import FIQ, IRQ, VFIQ, VIRQ, a64, monitor
from .syndromes import (
    AMO,
    BREAKPOINT,
    DATA_ABORT,
    E2H,
    EL0,
    EL1,
    EL2,
    FETCH_ABORT,
    FMO,
    HVC,
    ILLEGAL_STATE,
    IMO,
    KIND,
    OF_FIQ,
    OF_IRQ,
    OF_SERROR,
    PC_ALIGNMENT,
    SERROR,
    STEP,
    SVC,
    SYNCHRONOUS,
    TAKEN,
    TGE,
    TO_EL2,
    VF,
    VI,
    VIRTUAL_INTERRUPT,
    VSE,
    WATCHPOINT,
    syndrome,
    undefined,
)  # fmt: skip

__all__ = ["BY_HVC", "BY_SMC", "change_level", "is_asked", "leave_handler", "wakes"]

BY_HVC, BY_SMC = 1, 2
"""Values of `firmware_calls`: the instruction by which the board's firmware is called."""

SPAN = 1 << 23  # of SCTLR_ELx: PAN is left as it is
DSSBS = 44  # of SCTLR_ELx: what PSTATE.SSBS becomes


@a64.routine(returns=64)
def pstate(cpu: Cpu) -> Value:
    """PSTATE as SPSR_ELx holds it (C5.2.19)."""
    value: Value = const(0, 64)
    for flag, bit in (
        (cpu.nf, 31), (cpu.zf, 30), (cpu.cf, 29), (cpu.vf, 28), (cpu.dit, 24), (cpu.uao, 23),
        (cpu.pan, 22), (cpu.ss, 21), (cpu.il, 20), (cpu.ssbs, 12), (cpu.btype, 10), (cpu.daif, 6),
        (cpu.el, 2), (cpu.spsel, 0),
    ):  # fmt: skip
        value = value | flag.zext(64) << bit
    return value


@a64.routine(el=8, spsel=8)
def change_level(cpu: Cpu, el: Value, spsel: Value) -> None:
    """Go to an exception level, with the stack pointer that belongs to it."""
    with when(cpu.pmcnten != 0):
        advance(cpu)
    cpu.sp_el[select(cpu.spsel == 0, const(0, 8), cpu.el).trunc(2)] = cpu.sp
    cpu.el, cpu.spsel = el, spsel
    cpu.sp = cpu.sp_el[select(spsel == 0, const(0, 8), el).trunc(2)]
    update_fp_ready(cpu)
    with when(((cpu.pac & AT_EL2) != 0) != ruled_by_el2(cpu, cpu.el)):
        update_pauth(cpu)


def _restore(cpu: Cpu, saved: Value) -> None:
    """Restore the fields of PSTATE that have the same meaning at each level."""
    for name, bit in (("nf", 31), ("zf", 30), ("cf", 29), ("vf", 28)):
        setattr(cpu, name, saved[bit])
    cpu.daif = (saved.lsr(6) & 15).trunc(8)
    for name, bit in (("dit", 24), ("uao", 23), ("pan", 22), ("ssbs", 12)):
        setattr(cpu, name, saved[bit].zext(8))


def _set_pstate(cpu: Cpu, value: Value) -> None:
    """Set PSTATE. For a level that does not exist, or AArch32, level and stack pointer stay."""
    _restore(cpu, value)
    cpu.ss, cpu.il = value[21].zext(8), value[20].zext(8)
    cpu.btype = (value.lsr(10) & 3).trunc(8)
    el, spsel = (value.lsr(2) & 3).trunc(8), (value & 1).trunc(8)
    there = (el == EL1) | ((el == EL0) & (spsel == 0)) | ((el == EL2) & (cpu.el2_there == 1))
    with when(there & ((value & (1 << 4 | 1 << 1)) == 0)):
        change_level(cpu, el, spsel)


a64.view("pstate", 64, lambda cpu: pstate(cpu), _set_pstate)


def _target(cpu: Cpu, cause: Value, kind: Value) -> Value:
    """The exception level that an exception is taken to (D1.3.6)."""
    of_irq = (kind == OF_IRQ) & ((cpu.hcr & IMO) != 0)
    of_fiq = (kind == OF_FIQ) & ((cpu.hcr & FMO) != 0)
    general = (cpu.hcr & TGE) != 0
    to_el2 = (cause & TO_EL2) != 0
    physical = (cause & VIRTUAL_INTERRUPT) == 0
    up = (cpu.el == EL2) | to_el2 | general | ((of_irq | of_fiq) & physical)
    return select(up, const(EL2, 8), EL1)


@a64.routine(returns=64, cause=64, value=64)
def take_trap(cpu: Cpu, cause: Value, value: Value) -> Value:
    """Enter the handler of an exception of the instruction at ``pc``; the new ``pc``."""
    cpu.sync()
    saved, kind, which = pstate(cpu), cause.lsr(KIND) & 3, cause.lsr(26) & 0x3F
    target, before, spsel = _target(cpu, cause, kind), cpu.el, cpu.spsel
    at = target.trunc(2)
    calls = (kind == SYNCHRONOUS) & ((which == SVC) | (which == HVC))
    # An instruction that is not complete has not been stepped (D2.12.4).
    undone = (cpu.stepping == 1) & (kind == SYNCHRONOUS) & ~calls & (which != STEP)
    saved = saved | select(undone, const(1 << 21, 64), 0)
    with when(kind == SYNCHRONOUS):
        aborted = (which == FETCH_ABORT) | (which == DATA_ABORT)
        debugs = (which == BREAKPOINT) | (which == STEP) | (which == WATCHPOINT)
        same = select((aborted | debugs) & (before == target), const(1 << 26, 64), 0)
        told = cpu.local(cause)
        with when(which == DATA_ABORT):
            told.set(tell_of_instruction(cpu, cause, value))
        cpu.esr_el[at] = (told.value & 0xFFFF_FFFF) + same
        with when(aborted | (which == WATCHPOINT) | (which == PC_ALIGNMENT)):
            cpu.far_el[at] = value
            with when(aborted & (target == EL2)):
                cpu.hpfar = cpu.fault_ipa.lsr(12) << 4
    with when(kind == OF_SERROR):  # a virtual one, which is pending no more
        cpu.esr_el[at], cpu.hcr = cause & 0xFFFF_FFFF, cpu.hcr & ~VSE
    offset = select(before == target, select(spsel == 0, const(0, 64), 0x200), const(0x400, 64))
    # The preferred return address of SVC, HVC and SMC is the next instruction (D1.3.2).
    cpu.elr_el[at], cpu.spsr_el[at] = cpu.pc + select(calls, const(4, 64), 0), saved
    change_level(cpu, target, const(1, 8))
    cpu.daif, cpu.ss, cpu.il, cpu.uao, cpu.btype = (const(n, 8) for n in (15, 0, 0, 0, 0))
    cpu.stepping = const(0, 8)
    cpu.ssbs = (cpu.sctlr_el[at].lsr(DSSBS) & 1).trunc(8)
    keeps = (target == EL1) | ((cpu.hcr & (E2H | TGE)) == E2H | TGE)
    with when(keeps & ((cpu.sctlr_el[at] & SPAN) == 0)):
        cpu.pan = const(1, 8)
    monitor.clear(cpu)
    vector: Value = cpu.vbar_el[at] + offset + (kind << 7)
    return vector


@a64.routine(returns=64)
def leave_handler(cpu: Cpu) -> Value:
    """ERET (C6.2.104): PSTATE from SPSR_ELx; the address from ELR_ELx."""
    at = cpu.el.trunc(2)
    target: Value = cpu.elr_el[at]
    saved = cpu.spsr_el[at]
    el, spsel = (saved.lsr(2) & 3).trunc(8), (saved & 1).trunc(8)
    # Illegal returns (D1.4.4): to a higher level, to AArch32, to EL0 with SP_ELx, or to EL1 under
    # HCR_EL2.TGE. They set PSTATE.IL, which makes the next instruction raise Illegal State.
    illegal = (
        cpu.el.ult(el)
        | ((saved & 1 << 4) != 0)
        | ((saved & 1 << 1) != 0)
        | ((el == EL0) & (spsel == 1))
        | ((el == EL1) & ((cpu.hcr & TGE) != 0))
    )
    steps = cpu.local(const(0, 8))
    with when(cpu.debugging != 0):
        steps.set(returns_ss(cpu, select(illegal, cpu.el, el), saved))
    cpu.ss = steps.value
    _restore(cpu, saved)
    monitor.clear(cpu)
    with when(illegal) as wrong:
        cpu.il = const(1, 8)
        with wrong.otherwise():
            cpu.il = saved[20].zext(8)
            cpu.btype = (saved.lsr(10) & 3).trunc(8)
            change_level(cpu, el, spsel)
    return target


def is_asked(cpu: Cpu, line: int, bit: int) -> Value:
    """Whether a virtual interrupt is pending, by its line or by its bit of HCR_EL2."""
    asked: Value = (cpu.line[line] != 0) | ((cpu.hcr & bit) != 0)
    return asked


@a64.routine(returns=64)
def pending_interrupt(cpu: Cpu) -> Value:
    """The exception to take before the next instruction, or 0: software step, Illegal State, FIQ,
    IRQ, or a virtual interrupt or SError."""
    with when(cpu.debugging != 0):
        step = pending_step(cpu)
        with when(step != 0):
            ret(step)
    with when(cpu.il == 1):
        ret(syndrome(ILLEGAL_STATE))
    # Interrupts routed to EL2 cannot be masked below it (D1.3.6.2).
    below, general = cpu.el != EL2, (cpu.hcr & TGE) != 0
    for line, mask, route, kind in ((FIQ, 1, FMO, OF_FIQ), (IRQ, 2, IMO, OF_IRQ)):
        to_el2 = below & (((cpu.hcr & route) != 0) | general)
        unmasked = (cpu.daif & mask) == 0
        masked_at_el2 = (cpu.el == EL2) & ((cpu.hcr & (route | TGE)) == 0)
        with when((cpu.line[line] != 0) & (to_el2 | (unmasked & ~masked_at_el2))):
            ret(const(kind << KIND | TAKEN, 64))
    for line, bit, mask, route, kind in ((VFIQ, VF, 1, FMO, OF_FIQ), (VIRQ, VI, 2, IMO, OF_IRQ)):
        on = below & ((cpu.hcr & route) != 0) & ~general & ((cpu.daif & mask) == 0)
        with when(is_asked(cpu, line, bit) & on):
            ret(const(kind << KIND | VIRTUAL_INTERRUPT | TAKEN, 64))
    with when(below & ((cpu.hcr & (AMO | VSE | TGE)) == AMO | VSE) & ((cpu.daif & 4) == 0)):
        ret(syndrome(SERROR) | OF_SERROR << KIND | VIRTUAL_INTERRUPT | TAKEN)
    return const(0, 64)


@a64.routine(returns=1)
def wakes(cpu: Cpu) -> Value:
    """See `Hooks.wakes`: pending interrupts end a wait, masked or not (D1.6.2), and so do virtual
    interrupts for EL1, below EL2."""
    awaited: Value = (cpu.line[IRQ] | cpu.line[FIQ]) != 0
    virtual = is_asked(cpu, VIRQ, VI) & ((cpu.hcr & IMO) != 0)
    fast = is_asked(cpu, VFIQ, VF) & ((cpu.hcr & FMO) != 0)
    error = (cpu.hcr & (AMO | VSE)) == AMO | VSE
    below = (cpu.el != EL2) & ((cpu.hcr & TGE) == 0)
    ends: Value = awaited | (below & (virtual | fast | error))
    return ends


@a64.routine(returns=8)
def mode(cpu: Cpu) -> Value:
    """The exception level."""
    level: Value = cpu.el
    return level


@a64.routine(name="undefined")
def undefined_instruction(cpu: Cpu) -> None:
    """See `Hooks.undefined`."""
    undefined(cpu)


@a64.routine()
def renew(cpu: Cpu) -> None:
    """See `Hooks.renew`: traps and mode of floating point, alignment checks, pointer
    authentication, and debugging."""
    update_strict(cpu)
    update_fp_ready(cpu)
    update_pauth(cpu)
    set_rounding(cpu)
    renew_debug(cpu)
