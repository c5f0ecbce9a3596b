"""Delivery of exceptions and interrupts (volume 3, chapter 6)."""

from __future__ import annotations

from ...ir.requests import RegisterUse
from ...ir.value import Value, const, select
from ..trace import Cpu, ret, when
from .debug import CONDITIONS, GD, change_debug, repeats
from .descriptors import (
    BASE_32,
    CONFORMING,
    base_of,
    descriptor,
    dpl_of,
    in_real_mode,
    in_v86,
    is_long,
    raise_for,
    rights_of,
)  # fmt: skip
from .fields import SP
from .flags import AC, IF, NT, RF, TF, VM, rflags
from .inner_stacks import inner_selector, inner_stack, set_inner, stack_checked
from .modes import derive
from .segments import CODE, L_BIT, PRESENT, S_BIT, UNUSABLE
from .stack_references import of_stack
from .state import CS, DS, ES, FS, GS, SS, TR, x86
from .system_access import system_load
from .tasks import CALL, switch_task
from .transfers import Frame, code_address, set_code, stack_width
from .traps import (
    AGAIN,
    CODE_AT,
    DEBUG,
    DETECTED,
    DOUBLE_FAULT,
    EXTERNAL,
    HAS_CODE,
    LENGTH_AT,
    NMI,
    NOT_PRESENT,
    PAGE_FAULT,
    PROTECTION,
    STACK,
    TSS,
    UNASKED,
    UNCANONICAL,
    cause_of,
    general_protection,
    undefined_opcode,
)  # fmt: skip

__all__ = ["ACKNOWLEDGE", "INTR_LINE", "NMI_LINE"]

INTR_LINE, NMI_LINE = 0, 1
"""Interrupt inputs."""
ACKNOWLEDGE = 0x1000
"""The board's register whose reading takes an interrupt: its vector and bit 8, or 0."""
GATE_TASK, GATE_INTERRUPT_16, GATE_TRAP_16, GATE_INTERRUPT, GATE_TRAP = 5, 6, 7, 14, 15
IDT_CODE = 2


@x86.routine()
def undefined(cpu: Cpu) -> None:
    """#UD."""
    undefined_opcode(cpu)


@x86.routine(access=8, va=64)
def access_fault(cpu: Cpu, access: Value, va: Value) -> None:
    """Nothing is there: no exception is defined for that, ours is #GP."""
    general_protection(cpu)


@x86.routine(access=8, va=64)
def misaligned(cpu: Cpu, access: Value, va: Value) -> None:
    """Of vectors and pairs that have to be aligned, whatever RFLAGS.AC says. Locked updates never
    come here."""
    general_protection(cpu)


# -- one event


@x86.routine(returns=64, cause=64, value=64)
def take_trap(cpu: Cpu, cause: Value, value: Value) -> Value:
    """Deliver an exception or interrupt: the linear address of the handler. ``value`` is what CR2
    gets of a page fault, and DR6 of #DB; or an address that is not canonical."""
    with when((cause & AGAIN) != 0):
        ret(cpu.pc)
    found = cpu.local(cause)
    with when((cause & UNCANONICAL) != 0), when(of_stack(cpu, value)):
        found.set(cause_of(STACK))
    cause = found.value
    outside = (cause & EXTERNAL) != 0
    unknown = outside & ((cause & 0xFF) == 0)
    with when(unknown):
        # The board says which interrupt it is, and then this one is looked at again.
        zero = const(0, 64)
        cpu.leave("register", const(ACKNOWLEDGE, 64), const(RegisterUse.READ, 64), zero, zero)
        ret(cpu.pc)
    vector = cause & 0xFF
    length = cause.lsr(LENGTH_AT) & 15
    long = cpu.decoding == 0
    base = select(long, const(0, 64), cpu.base[CS])
    following = cpu.pc - base + length
    saved = select(long, following, following & BASE_32)
    is_debug = (vector == DEBUG) & (length == 0) & ~outside
    waiting = cpu.debug_pending
    with when(is_debug):
        # A fault comes before its instruction is complete: no step has been made.
        behind = select(value != 0, waiting & CONDITIONS, waiting)
        cpu.dr[6] = (cpu.dr[6] & ~CONDITIONS) | value | behind.zext(64)
    # Behind INT n comes what a load of SS before it has met.
    cpu.debug_pending = select(_is_software(cause), waiting & CONDITIONS, 0)
    to = cpu.local(const(0, 64))
    with when(in_real_mode(cpu)) as real:
        to.set(deliver_real(cpu, vector, saved))
        with real.otherwise():
            to.set(deliver_protected(cpu, cause, saved))
    with when((vector == PAGE_FAULT) & ((cause & HAS_CODE) != 0)):
        cpu.cr2 = value
    with when(outside):
        cpu.acknowledged = const(0, 64)
        with when(vector == NMI):
            cpu.nmi_blocked = const(1, 8)
            cpu.line[NMI_LINE] = 0
    with when(is_debug & ((cpu.dr[7] & GD) != 0)):
        cpu.dr[7] = cpu.dr[7] & ~GD
        change_debug(cpu)
    cpu.sync()
    return to.value


@x86.routine(returns=64, vector=64, saved=64)
def deliver_real(cpu: Cpu, vector: Value, saved: Value) -> Value:
    """By the table of far pointers of real mode (volume 3, 20.1.4)."""
    with when(cpu.idtr_limit.zext(64).ult(vector * 4 + 3)):
        raise_for(cpu, PROTECTION, (vector * 8 + IDT_CODE).trunc(16))
    pointer = system_load(cpu, cpu.idtr_base + vector * 4, 32)
    mask = stack_width(cpu, cpu.attributes[SS], const(0, 1))
    frame = Frame(cpu, cpu.base[SS], cpu.r[SP], mask, const(0, 8), const(0, 1))
    for item in (rflags(cpu), cpu.selector[CS], saved):
        frame.push(item)
    selector = pointer[31:16]
    cpu.r[SP] = frame.merged
    cpu.system_flags = cpu.system_flags & ~(IF | TF | AC | RF)
    cpu.selector[CS], cpu.base[CS] = selector, selector.zext(64) << 4
    derive(cpu)
    return (selector.zext(64) << 4) + (pointer.zext(64) & 0xFFFF)


@x86.routine(returns=64, cause=64, saved=64)
def deliver_protected(cpu: Cpu, cause: Value, saved: Value) -> Value:
    """Through a gate of the IDT (6.12, 6.14)."""
    vector = cause & 0xFF
    software, long = _is_software(cause), is_long(cpu)
    ext = ~software
    index = vector * 8 + IDT_CODE
    at = vector * select(long, const(16, 64), 8)
    last = at + select(long, const(15, 64), 7)
    with when(cpu.idtr_limit.zext(64).ult(last)):
        raise_idt(cpu, PROTECTION, index, ext)
    gate = system_load(cpu, cpu.idtr_base + at, 64)
    rights = rights_of(gate)
    kind = rights & 0x1F
    narrow = (kind == GATE_TASK) | (kind == GATE_INTERRUPT_16) | (kind == GATE_TRAP_16)
    right = (kind == GATE_INTERRUPT) | (kind == GATE_TRAP) | (narrow & ~long)
    with when(~right | (software & dpl_of(rights).trunc(8).ult(cpu.cpl))):
        raise_idt(cpu, PROTECTION, index, ext)
    with when((rights & PRESENT) == 0):
        raise_idt(cpu, NOT_PRESENT, index, ext)
    has_code = ((cause & HAS_CODE) != 0).zext(8)
    code = cause.lsr(CODE_AT) & 0xFFFF
    with when(kind == GATE_TASK):
        ret(switch_task(cpu, gate[31:16], CALL, saved, has_code, code))
    upper = cpu.local(const(0, 64))
    with when(long):
        upper.set(system_load(cpu, cpu.idtr_base + at + 8, 32).zext(64))
    offset = (gate & 0xFFFF) | (gate.lsr(32) & 0xFFFF_0000)
    offset = select((kind & 8) != 0, offset, gate & 0xFFFF) | upper.value << 32
    return enter_handler(cpu, gate, offset, cause, saved, has_code, code)


def _is_software(cause: Value) -> Value:
    """Whether it is INT n, INT3 or INTO: an instruction that has to be allowed to."""
    return ((cause.lsr(LENGTH_AT) & 15) != 0) & ((cause & UNASKED) == 0)


@x86.routine(vector=8, index=64, ext=1)
def raise_idt(cpu: Cpu, vector: Value, index: Value, ext: Value) -> None:
    """An exception that is about a gate of the IDT."""
    code = index | ext.zext(64)
    cpu.trap(vector.zext(64) | HAS_CODE | code << CODE_AT)


@x86.routine(returns=64, gate=64, offset=64, cause=64, saved=64, has_code=8, code=64)
def enter_handler(
    cpu: Cpu, gate: Value, offset: Value, cause: Value, saved: Value, has_code: Value, code: Value
) -> Value:
    """Push a frame and enter a handler, perhaps of an inner level."""
    ext, long, v86 = ~_is_software(cause), is_long(cpu), in_v86(cpu)
    selector = gate[31:16]
    with when((selector & 0xFFFC) == 0):
        raise_for(cpu, PROTECTION, const(0, 16), ext)
    d = descriptor(cpu, selector, PROTECTION, ext)
    rights = rights_of(d)
    dpl = dpl_of(rights).trunc(8)
    is_code = (rights & (S_BIT | CODE)) == S_BIT | CODE
    in_64 = ~long | ((rights & (L_BIT | 1 << 14)) == L_BIT)
    with when(~is_code | cpu.cpl.ult(dpl) | ~in_64):
        raise_for(cpu, PROTECTION, selector, ext)
    with when((rights & PRESENT) == 0):
        raise_for(cpu, NOT_PRESENT, selector, ext)
    inner = ((rights & CONFORMING) == 0) & dpl.ult(cpu.cpl)
    with when(v86 & (~inner | (dpl != 0))):
        raise_for(cpu, PROTECTION, selector, ext)
    level = select(inner, dpl, cpu.cpl)
    to = code_address(cpu, d, offset)
    ist = select(long, gate.lsr(32) & 7, 0)
    wide = (rights_of(gate) & 8) != 0
    osize = select(long, const(2, 8), select(wide, const(1, 8), 0))
    # Which stack: that of the level, one that the gate names, or that of now.
    pointer, ss = cpu.local(cpu.r[SP]), cpu.local(cpu.selector[SS])
    stack = cpu.local(const(0, 64))
    switches = inner | (ist != 0)
    with when(ist != 0) as named:
        at = cpu.base[TR] + 0x1C + ist * 8
        with when(cpu.limit[TR].zext(64).ult(0x1C + ist * 8 + 7)):
            raise_for(cpu, TSS, cpu.selector[TR], ext)
        pointer.set(system_load(cpu, at, 64))
        with named.otherwise(), when(inner):
            pointer.set(inner_stack(cpu, level, ext))
            ss.set(inner_selector(cpu, level, ext))
            stack.set(stack_checked(cpu, ss.value, level, ext))
    own = select(long, const(0, 64), cpu.base[SS])
    base = select(inner & ~long, base_of(stack.value), own)
    stack_rights = select(inner, rights_of(stack.value), cpu.attributes[SS])
    mask = stack_width(cpu, stack_rights, long)
    start = select(long, pointer.value & ~15, pointer.value)
    frame = Frame(cpu, base, start, mask, osize, level == 3)
    _push(cpu, frame, cause, saved, v86, switches | long, has_code, code)
    with when(v86):
        for seg in (ES, DS, FS, GS):
            cpu.selector[seg], cpu.base[seg] = 0, 0
            cpu.limit[seg], cpu.attributes[seg] = 0, UNUSABLE
    with when(inner):
        set_inner(cpu, ss.value, stack.value, level)
    set_code(cpu, selector, d, level)
    cpu.r[SP] = select(mask == 0xFFFF, (cpu.r[SP] & ~0xFFFF) | (frame.pointer & 0xFFFF),
                       frame.pointer & mask)  # fmt: skip
    interrupt = (rights_of(gate) & 1) == 0
    cleared = cpu.system_flags & ~(TF | NT | RF | VM)
    cpu.system_flags = select(interrupt, cleared & ~IF, cleared)
    derive(cpu)
    return to


def _push(
    cpu: Cpu, frame: Frame, cause: Value, saved: Value, v86: Value, stack: Value, has_code: Value,
    code: Value,
) -> None:  # fmt: skip
    """The frame: old segments of virtual-8086 mode, the old stack, flags, where to return to."""
    pointer = cpu.local(frame.pointer)

    def push(value: Value) -> None:
        frame.pointer = pointer.value
        frame.push(value)
        pointer.set(frame.pointer)

    with when(v86):
        for seg in (GS, FS, DS, ES):
            push(cpu.selector[seg])
    with when(stack):
        push(cpu.selector[SS])
        push(cpu.r[SP])
    # The image of RFLAGS has RF for faults, and between repetitions of an instruction, so that
    # breakpoints are not met again.
    vector, length = cause & 0xFF, cause.lsr(LENGTH_AT) & 15
    is_fault = (length == 0) & ((cause & EXTERNAL) == 0) & (vector != DEBUG)
    resumes = cpu.local(is_fault | ((cause & DETECTED) != 0))
    with when(cpu.debugging != 0):
        resumes.set(resumes.value | repeats(cpu))
    push(rflags(cpu) | select(resumes.value, const(RF, 64), 0))
    push(cpu.selector[CS])
    push(saved)
    with when(has_code != 0):
        push(code)
    frame.pointer = pointer.value


@x86.routine(returns=64, first=64, second=64)
def fault_in_delivery(cpu: Cpu, first: Value, second: Value) -> Value:
    """What becomes of a fault while another is delivered (table 6-5): it is delivered instead, or a
    double fault, or the processor shuts down."""
    had, now = first & 0xFF, second & 0xFF
    outside = (first & EXTERNAL) != 0
    with when((had == DOUBLE_FAULT) & ~outside):
        cpu.shutdown = const(1, 8)
        cpu.leave("halt")
    contributes = ~outside & _contributes(had) & _contributes(now)
    after_page = ~outside & (had == PAGE_FAULT) & (_contributes(now) | (now == PAGE_FAULT))
    return select(contributes | after_page, cause_of(DOUBLE_FAULT), second)


def _contributes(vector: Value) -> Value:
    return (vector == 0) | (const(9, 64).ult(vector) & vector.ult(14))


# -- what waits


@x86.routine(returns=64)
def pending_interrupt(cpu: Cpu) -> Value:
    """What is to be delivered before the next instruction: a trap of debugging, NMI, or an
    interrupt, whose vector may not be known yet."""
    with when(cpu.shutdown != 0):
        ret(const(0, 64))
    with when(cpu.debug_pending != 0), when(cpu.debug_shadow != cpu.host("instret", 64)):
        ret(const(DEBUG, 64))
    with when(cpu.shadow == cpu.host("instret", 64)):
        ret(const(0, 64))
    with when((cpu.line[NMI_LINE] != 0) & (cpu.nmi_blocked == 0)):
        ret(const(NMI | EXTERNAL, 64))
    allowed = (cpu.system_flags & IF) != 0
    with when((cpu.acknowledged & 0x100) != 0):
        ret(const(EXTERNAL, 64) | (cpu.acknowledged & 0xFF))
    asked = allowed & (cpu.line[INTR_LINE] != 0)
    return select(asked, const(EXTERNAL, 64), 0)


@x86.routine(returns=1)
def wakes(cpu: Cpu) -> Value:
    """Whether an interrupt, NMI or #DB ends HLT."""
    allowed = (cpu.system_flags & IF) != 0
    some = (allowed & (cpu.line[INTR_LINE] != 0)) | (cpu.debug_pending != 0)
    some = some | ((cpu.line[NMI_LINE] != 0) & (cpu.nmi_blocked == 0))
    awaited: Value = some & (cpu.shutdown == 0)
    return awaited


@x86.routine()
def poll_timer(cpu: Cpu) -> None:
    """The timer is the local APIC's."""


@x86.routine(returns=8)
def mode(cpu: Cpu) -> Value:
    """The privilege level."""
    level: Value = cpu.cpl
    return level
