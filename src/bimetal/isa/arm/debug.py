"""Self-hosted debug (D2): which debug exceptions there are, where they go, what raises one.

While ``debugging`` is not 0, the engine calls `examine` before each instruction of a page that
`examined` selects, and `watch` before each access to one that `watched` selects. These select pages
that may matter at any exception level; `examine` and `watch` check the level each time. Where the
manual leaves it open, breakpoints and watchpoints of a reserved type or state never match.
"""

from __future__ import annotations

from ...ir.value import Value, const, pure, select
from ..contract import STORE, UPDATE
from ..trace import Cpu, ret, when
from .features import BREAKPOINTS, CACHE_LINE, CONTEXT_AWARE, WATCHPOINTS
from .hosts import hosted, hosts
from .spaces import effective_level, vmid
from .state import a64
from .syndromes import (
    BREAKPOINT,
    EL1,
    EL2,
    STEP,
    TGE,
    TO_EL2,
    WATCHPOINT,
    syndrome,
)  # fmt: skip

__all__ = [
    "DATA", "KDE", "MDE", "SS", "TDCC", "TDE", "goes_to_el2", "pending_step", "renew_debug",
    "returns_ss", "watch_invalidation",
]  # fmt: skip

SS, TDCC, KDE, MDE = 1 << 0, 1 << 12, 1 << 13, 1 << 15  # of MDSCR_EL1 (D17.3.20)
TDE = 1 << 8  # of MDCR_EL2
D = 1 << 3  # of PSTATE.DAIF
STATUS = 0x22  # the fault status of debug exceptions
ISV, EX = 1 << 24, 1 << 6  # of a step's syndrome
WRITE, CM = 1 << 6, 1 << 8  # of a watchpoint's
CODE, DATA = 1, 2
"""Of ``debugging``: instructions are examined, accesses watched."""


def goes_to_el2(cpu: Cpu) -> Value:
    """Whether debug exceptions from EL0 and EL1 are routed to EL2 (D2.3)."""
    asked: Value = ((cpu.mdcr & TDE) != 0) | ((cpu.hcr & TGE) != 0)
    there: Value = cpu.el2_there == 1
    return asked & there


def _cause(cpu: Cpu, exception_class: int, iss: Value | int) -> Value:
    return syndrome(exception_class, iss) | select(goes_to_el2(cpu), const(TO_EL2, 64), 0)


@a64.routine(returns=1, el=8, masked=8)
def generates(cpu: Cpu, el: Value, masked: Value) -> Value:
    """Whether an exception level has debug exceptions enabled, with PSTATE.D ``masked`` (D2.4)."""
    target = select(goes_to_el2(cpu), const(EL2, 8), EL1)
    own: Value = (el == target) & ((cpu.mdscr & KDE) != 0) & (masked == 0)
    double_locked = (cpu.osdlr == 1) & (cpu.dbgprcr == 0)
    unlocked: Value = (cpu.oslock == 0) & ~double_locked
    return unlocked & (own | el.ult(target))


def _here(cpu: Cpu) -> Value:
    """`generates` for the current exception level and PSTATE.D."""
    return generates(cpu, cpu.el, cpu.daif & D)


@a64.routine(returns=1)
def stepping_on(cpu: Cpu) -> Value:
    """Whether software step is active."""
    wanted: Value = (cpu.mdscr & SS) != 0
    return wanted & _here(cpu)


@a64.routine()
def renew_debug(cpu: Cpu) -> None:
    """Recompute ``debugging``, and flush: what has to be examined and watched has changed."""
    breakpoints, watchpoints = const(0, 64), const(0, 64)
    for n in range(BREAKPOINTS):
        breakpoints = breakpoints | cpu.dbgbcr[n]
    for n in range(WATCHPOINTS):
        watchpoints = watchpoints | cpu.dbgwcr[n]
    monitors = (cpu.mdscr & MDE) != 0
    code = ((cpu.mdscr & SS) != 0) | (monitors & breakpoints[0])
    data = monitors & watchpoints[0]
    now = code.zext(8) | data.zext(8) << 1
    either = now | cpu.debugging
    with when((either & DATA) != 0):
        cpu.host("flush", 0)
    with when((either & CODE) != 0):
        cpu.host("flush_fetch", 0)
    cpu.debugging = now
    # Registers may be set from outside in the middle of a step, which must not be lost.
    cpu.stepping = select(stepping_on(cpu), cpu.stepping, 0)


# -- software step (D2.12)


@a64.routine(returns=64)
def pending_step(cpu: Cpu) -> Value:
    """The software step exception that is pending, or 0."""
    with when(~stepping_on(cpu) | (cpu.ss == 1)):
        ret(const(0, 64))
    # The debugger returned by an exception return, which cleared the reservation.
    exclusive = select(cpu.reserved_size != 0, const(EX, 64), 0)
    stepped = select(cpu.stepping == 1, exclusive | ISV, 0)
    return _cause(cpu, STEP, stepped | STATUS)


@a64.routine(returns=8, el=8, saved=64)
def returns_ss(cpu: Cpu, el: Value, saved: Value) -> Value:
    """PSTATE.SS after an exception return to a level: SPSR_ELx.SS if the return makes software step
    active (D2.12.4)."""
    masked = (saved.lsr(6) & D).trunc(8)
    begins = ((cpu.mdscr & SS) != 0) & ~_here(cpu) & generates(cpu, el, masked)
    return select(begins, saved.lsr(21) & 1, 0).trunc(8)


# -- what breakpoints and watchpoints share


@a64.routine(returns=1, control=64, el=8)
def state_matches(cpu: Cpu, control: Value, el: Value) -> Value:
    """Whether SSC, HMC and PMC or PAC select an exception level of the Non-secure state
    (D2.8.2)."""
    security, higher, lower = control.lsr(14) & 3, control[13], control.lsr(1) & 3
    of_el2 = (higher & ~((security == 2) & (lower == 0))) | (security == 3)
    level = select(el == EL2, of_el2, select(el == EL1, lower[0], lower[1]))
    return level & (security != 2) & ((security != 3) | higher)


@a64.routine(returns=1, value=64, kind=64)
def context_matches(cpu: Cpu, value: Value, kind: Value) -> Value:
    """Whether the current context matches a breakpoint whose BT is ``kind`` (D2.8.4)."""
    guest = (cpu.el != EL2) & ~hosted(cpu)
    host = hosts(cpu)
    low, high = value & 0xFFFF_FFFF, value.lsr(32)
    el1, el2 = low == cpu.contextidr_el[EL1], high == cpu.contextidr_el[EL2]
    machine = guest & (cpu.el2_there == 1) & ((vmid(cpu).lsr(16) & 0xFFFF) == (high & 0xFFFF))
    own = (guest & el1) | (host & (low == cpu.contextidr_el[EL2]))
    above = (cpu.el2_there == 1) & ((cpu.el != EL2) | host) & el2
    found = const(0, 1)
    for number, matches in (
        (1, own), (3, guest & el1), (4, machine), (5, machine & el1), (6, above),
        (7, above & guest & el1),
    ):  # fmt: skip
        found = select(kind.lsr(1) == number, matches, found)
    return found


@a64.routine(returns=1, number=64)
def linked_matches(cpu: Cpu, number: Value) -> Value:
    """Whether the breakpoint that another one is linked to (LBN) matches the context."""
    for n in CONTEXT_AWARE:
        control = cpu.dbgbcr[n]
        kind = control.lsr(20) & 15
        with when((number == n) & control[0] & kind[0] & (kind != 1)):
            ret(context_matches(cpu, cpu.dbgbvr[n], kind))
    return const(0, 1)


def _apart(a: Value, b: Value) -> Value:
    """The bits in which two addresses differ, tags ignored."""
    return ((a ^ b) << 8).lsr(8)


# -- breakpoints (D2.8)


@a64.routine(returns=1, va=64)
def examined(cpu: Cpu, va: Value) -> Value:
    """See `Hooks.examined`."""
    with when((cpu.mdscr & SS) != 0):
        ret(const(1, 1))
    for n in range(BREAKPOINTS):
        control = cpu.dbgbcr[n]
        kind = control.lsr(20) & 15
        by_address = (kind.lsr(1) == 0) & (_apart(va, cpu.dbgbvr[n]).lsr(12) == 0)
        with when(control[0] & (by_address | (~kind[0] & (kind != 0)))):
            ret(const(1, 1))
    return const(0, 1)


@a64.routine()
def examine(cpu: Cpu) -> None:
    """See `Hooks.examine`: breakpoints, and the beginning of a step."""
    steps = stepping_on(cpu) & (cpu.ss == 1)
    cpu.stepping = steps.zext(8)
    cpu.ss = select(steps, const(0, 8), cpu.ss)
    with when(((cpu.mdscr & MDE) != 0) & _here(cpu)):
        for n in range(BREAKPOINTS):
            with when(breakpoint_matches(cpu, cpu.dbgbvr[n], cpu.dbgbcr[n], n in CONTEXT_AWARE)):
                cpu.trap(_cause(cpu, BREAKPOINT, STATUS))


@a64.routine(returns=1, value=64, control=64, aware=1)
def breakpoint_matches(cpu: Cpu, value: Value, control: Value, aware: Value) -> Value:
    """Whether a breakpoint matches the instruction at ``pc``."""
    with when(~control[0] | ~state_matches(cpu, control, cpu.el)):
        ret(const(0, 1))
    kind = control.lsr(20) & 15
    with when(kind.lsr(1) == 0):
        here = _apart(cpu.pc, value).lsr(2) == 0
        with when(here & kind[0]):
            ret(linked_matches(cpu, control.lsr(16) & 15))
        ret(here)
    with when(kind[0] | ~aware):
        ret(const(0, 1))
    return context_matches(cpu, value, kind)


# -- watchpoints (D2.10)


@a64.routine(returns=1, va=64)
def watched(cpu: Cpu, va: Value) -> Value:
    """See `Hooks.watched`."""
    for n in range(WATCHPOINTS):
        control = cpu.dbgwcr[n]
        inside = (const(1, 64) << (control.lsr(24) & 31)) - 1 | 0xFFF
        with when(control[0] & ((_apart(va, cpu.dbgwvr[n]) & ~inside) == 0)):
            ret(const(1, 1))
    return const(0, 1)


NOWHERE = -1


@a64.routine(returns=64, va=64, size=64, value=64, control=64)
def first_watched(cpu: Cpu, va: Value, size: Value, value: Value, control: Value) -> Value:
    """The first byte of an access of up to 64 bytes that a watchpoint's address, MASK and BAS
    cover, counted from the first one; `NOWHERE` if there is none."""
    mask = control.lsr(24) & 31
    with when(const(2, 64).ult(mask)):
        inside = (const(1, 64) << mask) - 1
        with when((_apart(va, value) & ~inside) == 0):
            ret(const(0, 64))
        with when((_apart(va + size - 1, value) & ~inside) == 0):
            ret((va | inside) + 1 - va)
        ret(const(NOWHERE, 64))
    asked = control.lsr(5) & 0xFF
    chosen = select(value[2], (asked & 15) << 4, asked)
    before = ((va - (value & ~7)) << 8).asr(8)  # how far the access begins behind the eight bytes
    all_of_it = const(-1, 64).lsr(const(64, 64) - size)
    behind = select(before.ult(8), all_of_it << (before & 63), 0)
    ahead = select((-before).ult(size), all_of_it.lsr(-before & 63), 0)
    both = (behind | ahead) & chosen
    with when(both == 0):
        ret(const(NOWHERE, 64))
    return pure("ctz", both) - before


def _raise_if_watched(
    cpu: Cpu, va: Value, size: Value, access: Value, told: Value | None = None, more: int = 0
) -> None:
    """Raise the exception of the first watchpoint that an access hits, with the address of the
    first byte that is watched, or with the one that is to be ``told``, and ``more`` in its
    syndrome."""
    with when(((cpu.mdscr & MDE) == 0) | ~_here(cpu)):
        ret()
    stores = select((access & UPDATE) != 0, const(3, 64), 2)
    kinds = select(access[0] == STORE, stores, 1)
    level = effective_level(cpu, access)
    for n in range(WATCHPOINTS):
        control = cpu.dbgwcr[n]
        asked = control.lsr(3) & kinds
        with when(control[0] & (asked != 0) & state_matches(cpu, control, level)):
            at = first_watched(cpu, va, size, cpu.dbgwvr[n], control)
            linked = control[20]
            context = cpu.local(const(1, 1))
            with when(linked):
                context.set(linked_matches(cpu, control.lsr(16) & 15))
            with when((at != NOWHERE) & context.value):
                # An update that reads what is watched for loads is a load (ESR_ELx.WnR).
                write = select((asked & 1) == 0, const(WRITE, 64), 0)
                cause = _cause(cpu, WATCHPOINT, write | STATUS | more)
                cpu.trap(cause, va + at if told is None else told)


@a64.routine(va=64, size=64, access=8)
def watch(cpu: Cpu, va: Value, size: Value, access: Value) -> None:
    """See `Hooks.watch`."""
    _raise_if_watched(cpu, va, size, access)


@a64.routine(va=64)
def watch_invalidation(cpu: Cpu, va: Value) -> None:
    """Watchpoints of DC IVAC (D2.10): it is a store to a whole line, and the address that it was
    given is told. Instructions that clean are not watched."""
    line = va & ~(CACHE_LINE - 1)
    _raise_if_watched(cpu, line, const(CACHE_LINE, 64), const(STORE, 8), va, CM)
