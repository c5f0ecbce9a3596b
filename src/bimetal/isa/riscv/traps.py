"""Traps and interrupts: causes, delegation, entry and return (volume II, 3.1.6 to 3.1.15, 4.1)."""

from __future__ import annotations

from ...ir.value import Value, const, pure, select
from ..trace import Cpu, ret, slowly, when
from .state import rv64

__all__ = [
    "BREAKPOINT", "FETCH_ACCESS", "FETCH_PAGE", "ILLEGAL_INSTRUCTION", "LINES", "LOAD_ACCESS",
    "LOAD_MISALIGNED", "LOAD_PAGE", "MACHINE", "MIE", "MPIE", "SIE", "SPIE", "SPP", "STCE", "STIP",
    "STORE_ACCESS", "STORE_MISALIGNED", "STORE_PAGE", "SUPERVISOR", "USER", "environment_call",
    "illegal", "interrupts_pending", "mode", "pending_interrupt", "poll_timer", "take_trap",
    "wakes",
]  # fmt: skip

FETCH_ACCESS = 1
ILLEGAL_INSTRUCTION = 2
BREAKPOINT = 3
LOAD_MISALIGNED = 4
LOAD_ACCESS = 5
STORE_MISALIGNED = 6
STORE_ACCESS = 7
ENVIRONMENT_CALL = 8  # plus the privilege mode
FETCH_PAGE = 12
LOAD_PAGE = 13
STORE_PAGE = 15
INTERRUPT = 1 << 63

USER, SUPERVISOR, MACHINE = 0, 1, 3

# Bits of mstatus.
SIE, MIE, SPIE, MPIE, SPP, MPP = 1 << 1, 1 << 3, 1 << 5, 1 << 7, 1 << 8, 3 << 11

# Bits of mip that a line of the board drives, and the order in which they are taken (II 3.1.9).
LINES = (11, 3, 7, 9, 1, 5)
STIP = 1 << 5
STCE = 1 << 63
NANOSECONDS_PER_TICK = 100


def illegal(cpu: Cpu) -> None:
    """Raise illegal-instruction. mtval is 0, as II 3.1.16 allows."""
    cpu.trap(ILLEGAL_INSTRUCTION)


def environment_call(cpu: Cpu) -> None:
    """ecall: a trap by mode, or a call to the machine's own SBI from S-mode."""
    with when((cpu.firmware_calls == 1) & (cpu.priv == SUPERVISOR)) as firmware:
        cpu.leave("firmware call")
        with firmware.otherwise():
            cpu.trap(cpu.priv.zext(64) + ENVIRONMENT_CALL)


def read_ticks(cpu: Cpu) -> Value:
    """mtime: the machine's clock in ticks of 100 ns."""
    return pure("udiv", cpu.host("time_ns", 64), NANOSECONDS_PER_TICK)


@rv64.routine()
def poll_timer(cpu: Cpu) -> None:
    """Recompute timer_fired: the supervisor timer of Sstc compares the time with stimecmp."""
    enabled = (cpu.menvcfg & STCE) != 0
    fired = read_ticks(cpu).uge(cpu.stimecmp)
    cpu.timer_fired = select(enabled & fired, const(1, 8), 0)


@rv64.routine(returns=8)
def mode(cpu: Cpu) -> Value:
    """The privilege mode, by which profiles distinguish samples."""
    current: Value = cpu.priv
    return current


@rv64.routine(returns=64)
def interrupts_pending(cpu: Cpu) -> Value:
    """mip: lines, bits that software set, and the supervisor timer."""
    pending = cpu.mip_soft
    for bit in LINES:
        pending = pending | (cpu.line[bit].zext(64) << bit)
    # With Sstc on, STIP is the comparison alone (II 12.1.1, Sstc 2.2).
    timer = cpu.timer_fired.zext(64) << 5
    return select((cpu.menvcfg & STCE) != 0, (pending & ~STIP) | timer, pending)


@rv64.routine(returns=64)
def pending_interrupt(cpu: Cpu) -> Value:
    """See `Hooks.pending_interrupt`. Every trap and return asks, and mostly there is none."""
    ready = interrupts_pending(cpu) & cpu.mie
    with slowly(ready != 0):
        ret(interrupt_among(cpu, ready))
    return const(0, 64)


@rv64.routine(returns=64, ready=64)
def interrupt_among(cpu: Cpu, ready: Value) -> Value:
    """The cause of the first of these interrupts that the mode takes, or 0."""
    status, priv = cpu.mstatus, cpu.priv
    for_machine = ready & ~cpu.mideleg
    for_supervisor = ready & cpu.mideleg
    machine_on = (priv != MACHINE) | ((status & MIE) != 0)
    supervisor_on = (priv == USER) | ((priv == SUPERVISOR) & ((status & SIE) != 0))
    chosen = select(
        machine_on & (for_machine != 0), for_machine, select(supervisor_on, for_supervisor, 0)
    )
    with when(chosen != 0):
        for bit in LINES:
            with when(chosen[bit] == 1):
                ret(const(INTERRUPT | bit, 64))
    return const(0, 64)


@rv64.routine(returns=1)
def wakes(cpu: Cpu) -> Value:
    """An interrupt that mie enables, whether or not the mode takes it (II 3.3.3)."""
    awaited: Value = (interrupts_pending(cpu) & cpu.mie) != 0
    return awaited


def _vector(base: Value, cause: Value) -> Value:
    """Where a trap goes: mode 1 of mtvec spreads interrupts by cause (II 3.1.7)."""
    vectored = (base[1:0] == 1) & (cause[63] == 1)
    target = base & ~3
    return select(vectored, target + (cause << 2), target)


@rv64.routine(returns=64, cause=64, value=64)
def take_trap(cpu: Cpu, cause: Value, value: Value) -> Value:
    """Enter the handler of a trap at the instruction `cpu.pc`; the new pc."""
    status, priv = cpu.mstatus, cpu.priv
    delegation = select(cause[63] == 1, cpu.mideleg, cpu.medeleg)
    delegated = (priv != MACHINE) & (delegation.lsr(cause & 63)[0] == 1)
    cpu.sync()
    with when(delegated):
        cpu.scause, cpu.stval, cpu.sepc = cause, value, cpu.pc
        spie = select((status & SIE) != 0, const(SPIE, 64), 0)
        spp = select(priv == USER, const(0, 64), SPP)
        cpu.mstatus = (status & ~(SIE | SPIE | SPP)) | spie | spp
        cpu.priv = const(SUPERVISOR, 8)
        ret(_vector(cpu.stvec, cause))
    cpu.mcause, cpu.mtval, cpu.mepc = cause, value, cpu.pc
    mpie = select((status & MIE) != 0, const(MPIE, 64), 0)
    cpu.mstatus = (status & ~(MIE | MPIE | MPP)) | mpie | (priv.zext(64) << 11)
    cpu.priv = const(MACHINE, 8)
    return _vector(cpu.mtvec, cause)


@rv64.routine()
def undefined(cpu: Cpu) -> None:
    """See `Hooks.undefined`."""
    illegal(cpu)
