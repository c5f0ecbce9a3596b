"""Debugging (volume 3, 18.2 and 18.3) and alignment checks (7.15, #AC).

While `debugging` is not 0 the engine calls `examine` before each instruction of a page that
`examined` selects, and `watch` before each access to one that `watched` selects. What an
instruction is trapped for once it is complete waits in `debug_pending`, as DR6 will have it.
"""

from __future__ import annotations

from ...ir.value import Value, const, select
from ..contract import PART, STORE
from ..trace import Cpu, ret, slowly, when
from .control import AM, DE
from .flags import AC, RF, TF
from .scan import FETCH
from .state import x86
from .system_access import code_byte
from .traps import ALIGNMENT, DEBUG, DETECTED, fault

__all__ = [
    "BD", "BS", "BT", "CONDITIONS", "GD", "change_debug", "debug_when_asked", "follow_flags",
    "may_resume", "need_no_detection", "renew_debug", "repeats", "step_behind", "watch_port",
]  # fmt: skip

CONDITIONS, BD, BS, BT = 15, 1 << 13, 1 << 14, 1 << 15
"""Of DR6: which breakpoints were met; an access to debug registers; a step; a switch of tasks."""
ENABLED, GD = 0xFF, 1 << 13
"""Of DR7."""
EXECUTE, WRITE, PORT, ACCESS = range(4)
"""What a breakpoint is for (RWn)."""
LENGTHS = 0x3710
"""Bytes that a breakpoint covers, less one, by LENn: four bits each."""
CODE, DATA, ALL, ALIGNED = 1, 2, 4, 8
"""Of `debugging`: there are breakpoints of instructions, of data or ports; every instruction is
examined; accesses are to be aligned."""


def _enabled(control: Value, n: int) -> Value:
    on: Value = (control.lsr(2 * n) & 3) != 0
    return on


def _kind(control: Value, n: int) -> Value:
    return control.lsr(16 + 4 * n) & 3


def _mask(control: Value, n: int) -> Value:
    length = control.lsr(18 + 4 * n) & 3
    return const(LENGTHS, 64).lsr(length << 2) & 15


@x86.routine()
def renew_debug(cpu: Cpu) -> None:
    """Work out `debugging`, and flush what was cached without a look at what is asked for now."""
    flags, control = cpu.system_flags, cpu.dr[7]
    code, data = const(0, 1), const(0, 1)
    for n in range(4):
        of_code = _kind(control, n) == EXECUTE
        code = code | (_enabled(control, n) & of_code)
        data = data | (_enabled(control, n) & ~of_code)
    strict = ((flags & AC) != 0) & ((cpu.cr0 & AM) != 0) & (cpu.cpl == 3)
    every = ((flags & TF) != 0) | data | (code & ((flags & RF) != 0))
    now = const(0, 8)
    for bit, holds in ((CODE, code), (DATA, data), (ALL, every), (ALIGNED, strict)):
        now = now | select(holds, const(bit, 8), 0)
    more = now & ~cpu.debugging
    with when((more & (CODE | ALL)) != 0):
        cpu.host("flush_fetch", 0)
    with when((more & (DATA | ALIGNED)) != 0):
        cpu.host("flush", 0)
    cpu.debugging = now


def debug_when_asked(cpu: Cpu) -> None:
    """`renew_debug`, if there is anything to be found."""
    asked = (cpu.system_flags & (TF | AC)).zext(64) | (cpu.dr[7] & ENABLED)
    with when((asked | cpu.debugging.zext(64)) != 0):
        renew_debug(cpu)


def follow_flags(cpu: Cpu, old: Value) -> None:
    """`renew_debug`, if flags that matter are not as they were."""
    changed = cpu.system_flags ^ old
    with when(((changed & TF) != 0) | (((changed & AC) != 0) & (cpu.cpl == 3))):
        renew_debug(cpu)


@x86.routine()
def change_debug(cpu: Cpu) -> None:
    """Follow a change of debug registers."""
    cpu.debugging = const(0, 8)
    renew_debug(cpu)


def may_resume(cpu: Cpu) -> Value:
    """RF where it means something: while breakpoints are enabled. Elsewhere it stays 0, as it would
    be behind the next instruction."""
    return select((cpu.dr[7] & ENABLED) != 0, const(RF, 32), 0)


@x86.routine()
def step_behind(cpu: Cpu) -> None:
    """SYSCALL and SYSRET look at TF behind themselves, not before."""
    stepped = (cpu.system_flags & TF) != 0
    cpu.debug_pending = cpu.debug_pending & ~BS | select(stepped, const(BS, 16), 0)


def need_no_detection(cpu: Cpu) -> None:
    """#DB of an access to debug registers that somebody wants to know of."""
    with slowly((cpu.dr[7] & GD) != 0):
        fault(cpu, DEBUG, more=DETECTED, value=BD)


# -- instructions


@x86.routine(returns=1)
def in_string(cpu: Cpu) -> Value:
    """Whether the instruction at ``pc`` is one of strings."""
    for n in range(FETCH):
        at = cpu.pc + n
        byte = code_byte(cpu, select(cpu.decoding == 0, at, at & 0xFFFF_FFFF))
        segment = ((byte & 0xE7) == 0x26) | ((byte & 0xFC) == 0x64)
        prefix = segment | ((byte & 0xFE) == 0xF2) | (byte == 0xF0)
        prefix = prefix | ((cpu.decoding == 0) & ((byte & 0xF0) == 0x40))
        with when(~prefix):
            moves = ((byte & 0xFC) == 0xA4) | ((byte & 0xFC) == 0x6C)
            ret(moves | (((byte & 0xF8) == 0xA8) & ((byte & 6) != 0)))
    return const(0, 1)


@x86.routine(returns=1)
def repeats(cpu: Cpu) -> Value:
    """Whether the instruction at ``pc`` stands between two of its own repetitions."""
    again = (cpu.examined_pc == cpu.pc) & (cpu.examined_at == cpu.host("instret", 64))
    with when(~again):
        ret(const(0, 1))
    return in_string(cpu)


@x86.routine(returns=1, va=64)
def examined(cpu: Cpu, va: Value) -> Value:
    """See `Hooks.examined`."""
    here: Value = (cpu.debugging & ALL) != 0
    for n in range(4):
        wanted = _enabled(cpu.dr[7], n) & (_kind(cpu.dr[7], n) == EXECUTE)
        here = here | (wanted & ((va ^ cpu.dr[n]).lsr(12) == 0))
    return here


@x86.routine()
def examine(cpu: Cpu) -> None:
    """See `Hooks.examine`: breakpoints of instructions, and the beginning of a step."""
    flags, control = cpu.system_flags, cpu.dr[7]
    with when(((cpu.debugging & CODE) != 0) & ((flags & RF) == 0)):
        met = const(0, 64)
        for n in range(4):
            here = _enabled(control, n) & (_kind(control, n) == EXECUTE) & (cpu.pc == cpu.dr[n])
            met = met | select(here, const(1 << n, 64), 0)
        with when(met != 0), when(repeats(cpu) == 0):
            fault(cpu, DEBUG, value=met)
    with when((flags & RF) != 0):
        cpu.system_flags = flags & ~RF
        renew_debug(cpu)
    retired = cpu.host("instret", 64)
    held = select(cpu.debug_shadow == retired, cpu.debug_pending & CONDITIONS, 0)
    cpu.debug_pending = held | select((flags & TF) != 0, const(BS, 16), 0)
    cpu.examined_pc, cpu.examined_at = cpu.pc, retired + 1


# -- data and ports


@x86.routine(returns=1, va=64)
def watched(cpu: Cpu, va: Value) -> Value:
    """See `Hooks.watched`."""
    here: Value = (cpu.debugging & ALIGNED) != 0
    for n in range(4):
        wanted = _enabled(cpu.dr[7], n) & _kind(cpu.dr[7], n)[0]
        here = here | (wanted & ((va ^ cpu.dr[n]).lsr(12) == 0))
    return here


@x86.routine(va=64, size=64, access=8)
def watch(cpu: Cpu, va: Value, size: Value, access: Value) -> None:
    """See `Hooks.watch`: alignment, and breakpoints of data. Vectors need not be aligned."""
    aligned = ((va & (size - 1)) == 0) | ((access & PART) != 0)
    with when(((cpu.debugging & ALIGNED) != 0) & ~aligned):
        fault(cpu, ALIGNMENT)
    with when((cpu.debugging & DATA) != 0):
        for n in range(4):
            kind = _kind(cpu.dr[7], n)
            asked = (kind == ACCESS) | ((kind == WRITE) & (access[0] == STORE))
            _meet(cpu, n, asked, va, size)


def _meet(cpu: Cpu, n: int, asked: Value, at: Value, size: Value) -> None:
    """Note that a breakpoint is met, if it covers any of these bytes."""
    control, address = cpu.dr[7], cpu.dr[n]
    mask = _mask(control, n)
    first = address & ~mask
    inside = (at - first).ult(mask + 1) | (first - at).ult(size)
    with when(_enabled(control, n) & asked & inside):
        cpu.debug_pending = cpu.debug_pending | 1 << n


def watch_port(cpu: Cpu, port: Value, size: int) -> None:
    """Look for a breakpoint of ports."""
    with slowly((cpu.debugging & DATA) != 0):
        meet_port(cpu, port, size)


@x86.routine(port=16, size=64)
def meet_port(cpu: Cpu, port: Value, size: Value) -> None:
    """Note breakpoints of ports, which there are while CR4.DE says so."""
    with when((cpu.cr4 & DE) != 0):
        for n in range(4):
            _meet(cpu, n, _kind(cpu.dr[7], n) == PORT, port.zext(64), size)
