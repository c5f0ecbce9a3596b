"""Task switches (volume 3, chapter 8): 16-bit and 32-bit task state segments."""

from __future__ import annotations

from ...ir.value import Value, const, select
from ..trace import Cpu, when
from .control import PG, TS
from .debug import BT, may_resume
from .descriptors import (
    BASE_32,
    CONFORMING,
    base_of,
    descriptor,
    dpl_of,
    limit_of,
    raise_for,
    rights_of,
    set_segment,
)  # fmt: skip
from .fields import AX, SP
from .flags import ALWAYS, KNOWN, NT, RF, VM, rflags, set_arithmetic_flags
from .modes import derive
from .segments import CODE, PRESENT, S_BIT, UNUSABLE, WRITABLE
from .state import CS, DS, ES, FS, GS, LDTR, SS, TR, x86
from .system_access import now, system_load, system_store
from .traps import NOT_PRESENT, PROTECTION, STACK, TSS
from .vector_state import check_vectors

__all__ = ["CALL", "JUMP", "RETURN", "load_task_register", "switch_task"]

JUMP, CALL, RETURN = range(3)
"""How a task is left: it ends; it calls another one, which returns to it; it returns. Interrupts
are calls."""
BUSY = 2
AVAILABLE_16, AVAILABLE_32 = 1, 9
LDT = 2
GENERAL = range(8)
SEGMENTS = (ES, CS, SS, DS, FS, GS)


class _Place:
    """Where things stand in a TSS, of 32 or 16 bits."""

    def __init__(self, of_32: Value):
        self.of_32 = of_32

    def at(self, of_32: int, of_16: int) -> Value:
        """An offset."""
        return select(self.of_32, const(of_32, 64), of_16)

    def load(self, cpu: Cpu, base: Value, of_32: int, of_16: int) -> Value:
        """A register, 64 bits wide."""
        item = system_load(cpu, base + self.at(of_32, of_16), 32).zext(64)
        return select(self.of_32, item, item & 0xFFFF)

    def store(self, cpu: Cpu, base: Value, of_32: int, of_16: int, value: Value) -> None:
        """Store a register."""
        with when(self.of_32) as wide:
            system_store(cpu, base + of_32, value.trunc(32))
            with wide.otherwise():
                system_store(cpu, base + of_16, value.trunc(16))


@x86.routine(selector=16, d=64, clear=64, put=64)
def set_busy(cpu: Cpu, selector: Value, d: Value, clear: Value, put: Value) -> None:
    """Change bits of the type of a TSS's descriptor."""
    at = cpu.gdtr_base + (selector.zext(64) & 0xFFF8) + 5
    system_store(cpu, at, ((d.lsr(40) & ~clear) | put).trunc(8))


@x86.routine(returns=64, selector=16, how=8, following=64, has_code=8, code=64)
def switch_task(
    cpu: Cpu, selector: Value, how: Value, following: Value, has_code: Value, code: Value
) -> Value:
    """Switch to the task of a TSS; the linear address at which it goes on. ``following`` is the
    offset at which the old task will; an error code is pushed onto the new stack."""
    vector = select(how == RETURN, const(TSS, 8), PROTECTION)
    with when(selector[2] == 1):
        raise_for(cpu, vector, selector)
    d = descriptor(cpu, selector, vector, 0)
    rights = rights_of(d)
    kind = rights & 0x1F
    wanted = select(how == RETURN, kind & ~BUSY, kind)
    there = (wanted == AVAILABLE_16) | (wanted == AVAILABLE_32)
    busy = (how != RETURN) | ((kind & BUSY) != 0)
    with when(~there | ~busy):
        raise_for(cpu, vector, selector)
    with when((rights & PRESENT) == 0):
        raise_for(cpu, NOT_PRESENT, selector)
    of_32 = (kind & 8) != 0
    with when(limit_of(d).zext(64).ult(select(of_32, const(0x67, 64), 0x2B))):
        raise_for(cpu, TSS, selector)
    save_task(cpu, how, following)
    return enter_task(cpu, selector, d, how, has_code, code)


@x86.routine(how=8, following=64)
def save_task(cpu: Cpu, how: Value, following: Value) -> None:
    """Store the registers of the task that is left, and whether it is busy."""
    old = cpu.selector[TR]
    with when(how != CALL):
        before = descriptor(cpu, old, TSS, 0)
        set_busy(cpu, old, before, BUSY, 0)
    place, base = _Place((cpu.attributes[TR] & 8) != 0), cpu.base[TR]
    flags = rflags(cpu)
    kept = select(how == RETURN, flags & ~NT, flags)
    place.store(cpu, base, 0x20, 0x0E, following)
    place.store(cpu, base, 0x24, 0x10, kept)
    for n in GENERAL:
        place.store(cpu, base, 0x28 + 4 * n, 0x12 + 2 * n, cpu.r[n])
    for number, seg in enumerate(SEGMENTS):
        with when(const(number < 4, 1) | place.of_32):
            at = place.at(0x48 + 4 * number, 0x22 + 2 * number)
            system_store(cpu, base + at, cpu.selector[seg])


@x86.routine(returns=64, selector=16, d=64, how=8, has_code=8, code=64)
def enter_task(
    cpu: Cpu, selector: Value, d: Value, how: Value, has_code: Value, code: Value
) -> Value:
    """Load the registers of a task. What is wrong with its segments is an exception in it."""
    base, of_32 = base_of(d), (rights_of(d) & 8) != 0
    place = _Place(of_32)
    cpu.task_entered = now(cpu)
    with when(how == CALL):
        system_store(cpu, base, cpu.selector[TR])
    with when(how != RETURN):
        set_busy(cpu, selector, d, 0, BUSY)
    offset = place.load(cpu, base, 0x20, 0x0E)
    flags = place.load(cpu, base, 0x24, 0x10)
    general = [place.load(cpu, base, 0x28 + 4 * n, 0x12 + 2 * n) for n in GENERAL]
    selectors = [
        system_load(cpu, base + place.at(0x48 + 4 * n, 0x22 + 2 * n), 16) for n in range(6)
    ]
    ldt = system_load(cpu, base + place.at(0x60, 0x2A), 16)
    directory = system_load(cpu, base + 0x1C, 32).zext(64)
    with when(of_32 & ((cpu.cr0 & PG) != 0) & (cpu.cr3 != directory)):
        cpu.cr3 = directory
        cpu.host("flush", 0)
    cpu.selector[TR], cpu.base[TR], cpu.limit[TR] = selector, base, limit_of(d)
    cpu.attributes[TR] = rights_of(d) | BUSY
    cpu.cr0 = cpu.cr0 | TS
    check_vectors(cpu)
    nested = flags | select(how == CALL, const(NT, 64), 0)
    set_arithmetic_flags(cpu, nested)
    cpu.system_flags = nested.trunc(32) & (const(KNOWN & ~(ALWAYS | RF), 32) | may_resume(cpu))
    for n, value in zip(GENERAL, general, strict=True):
        cpu.r[AX + n] = value
    cpu.dr[7] = cpu.dr[7] & ~0x155
    v86 = (cpu.system_flags & VM) != 0
    for number, (seg, each) in enumerate(zip(SEGMENTS, selectors, strict=True)):
        value = select(of_32, each, 0) if number > 3 else each
        cpu.selector[seg], cpu.base[seg] = value, select(v86, value.zext(64) << 4, 0)
        cpu.limit[seg] = select(v86, const(0xFFFF, 32), 0)
        cpu.attributes[seg] = select(v86, const(0xF3, 32), UNUSABLE)
    load_local_table(cpu, ldt)
    with when(~v86):
        load_task_segments(cpu)
    derive(cpu)
    with when(of_32), when((system_load(cpu, base + 0x64, 16) & 1) != 0):
        cpu.debug_pending = cpu.debug_pending | BT
    with when(has_code != 0):
        push_code(cpu, code, of_32)
    with when(cpu.limit[CS].zext(64).ult(offset)):
        raise_for(cpu, PROTECTION, const(0, 16))
    to: Value = (cpu.base[CS] + offset) & BASE_32
    return to


@x86.routine(code=64, of_32=1)
def push_code(cpu: Cpu, code: Value, of_32: Value) -> None:
    """Push an error code onto the stack of a new task."""
    mask = select((cpu.attributes[SS] & 1 << 14) != 0, const(0xFFFF_FFFF, 64), 0xFFFF)
    top = (cpu.r[SP] - select(of_32, const(4, 64), 2)) & mask
    at, user = (cpu.base[SS] + top) & BASE_32, cpu.cpl == 3
    with when(of_32) as wide:
        system_store(cpu, at, code.trunc(32), user)
        with wide.otherwise():
            system_store(cpu, at, code.trunc(16), user)
    cpu.r[SP] = (cpu.r[SP] & ~mask) | top


@x86.routine(selector=16)
def load_local_table(cpu: Cpu, selector: Value) -> None:
    """Load LDTR for a task: #TS if it is none."""
    cpu.selector[LDTR], cpu.base[LDTR] = selector, 0
    cpu.limit[LDTR], cpu.attributes[LDTR] = 0, UNUSABLE
    with when((selector & 0xFFFC) != 0):
        with when(selector[2] == 1):
            raise_for(cpu, TSS, selector)
        d = descriptor(cpu, selector, TSS, 0)
        with when((rights_of(d) & 0x9F) != PRESENT | LDT):
            raise_for(cpu, TSS, selector)
        set_segment(cpu, LDTR, selector, d)
        cpu.attributes[LDTR] = rights_of(d)


@x86.routine()
def load_task_segments(cpu: Cpu) -> None:
    """Fill the segment registers of a task, whose level is the RPL of CS."""
    level = cpu.selector[CS] & 3
    for seg in (CS, SS, DS, ES, FS, GS):
        selector = cpu.selector[seg]
        null = (selector & 0xFFFC) == 0
        if seg in (CS, SS):
            with when(null):
                raise_for(cpu, TSS, selector)
        with when(~null):
            d = descriptor(cpu, selector, TSS, 0)
            rights = rights_of(d)
            dpl, code = dpl_of(rights).trunc(16), (rights & CODE) != 0
            conforms, segment = code & ((rights & CONFORMING) != 0), (rights & S_BIT) != 0
            if seg == CS:
                right = code & select(conforms, ~level.ult(dpl), dpl == level)
            elif seg == SS:
                data = ~code & ((rights & WRITABLE) != 0)
                right = data & (dpl == level) & ((selector & 3) == level)
            else:
                readable = ~code | ((rights & WRITABLE) != 0)
                low = dpl.ult(level) | dpl.ult(selector & 3)
                right = readable & (conforms | ~low)
            with when(~segment | ~right):
                raise_for(cpu, TSS, selector)
            with when((rights & PRESENT) == 0):
                raise_for(cpu, STACK if seg == SS else NOT_PRESENT, selector)
            set_segment(cpu, seg, selector, d)


@x86.routine(selector=16)
def load_task_register(cpu: Cpu, selector: Value) -> None:
    """LTR."""
    with when(((selector & 0xFFFC) == 0) | (selector[2] == 1)):
        raise_for(cpu, PROTECTION, selector)
    d = descriptor(cpu, selector, PROTECTION, 0)
    kind = rights_of(d) & 0x1F
    long = (cpu.efer & 1 << 10) != 0
    with when(~((kind == AVAILABLE_32) | ((kind == AVAILABLE_16) & ~long))):
        raise_for(cpu, PROTECTION, selector)
    with when((rights_of(d) & PRESENT) == 0):
        raise_for(cpu, NOT_PRESENT, selector)
    upper = cpu.local(const(0, 64))
    with when(long):
        upper.set(descriptor(cpu, selector + 8, PROTECTION, 0))
    set_busy(cpu, selector, d, 0, BUSY)
    cpu.selector[TR], cpu.limit[TR] = selector, limit_of(d)
    cpu.base[TR] = base_of(d) | upper.value << 32
    cpu.attributes[TR] = rights_of(d) | BUSY
